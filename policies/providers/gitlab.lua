-- GitLab CI. A GitLab of your own: set = { url = "https://gitlab.…" }.
return {
  set  = { url = "https://gitlab.com" },
  must = { runner_id = integer },
  san  = { uri = "https://{ci_config_ref_uri}" },
  extensions = {
    build_signer_uri    = "https://{ci_config_ref_uri}",
    build_signer_digest = "{ci_config_sha?}",
    runner_environment  = "{runner_environment}",

    source_repository_uri    = "{url}/{project_path}",
    source_repository_digest = "{sha}",
    source_repository_ref    = pick("ref_type", {
      branch = "refs/heads/{ref}",
      tag    = "refs/tags/{ref}",
    }),
    source_repository_identifier       = "{project_id}",
    source_repository_owner_uri        = "{url}/{namespace_path}",
    source_repository_owner_identifier = "{namespace_id}",

    build_config_uri    = "https://{ci_config_ref_uri}",
    build_config_digest = "{ci_config_sha?}",
    build_trigger       = "{pipeline_source}",
    run_invocation_uri  = "{url}/{project_path}/-/jobs/{job_id}",

    source_repository_visibility_at_signing = "{project_visibility?}",
    deployment_environment                  = "{environment?}",
  },
}
