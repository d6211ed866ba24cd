-- GitHub Actions. A GitHub of your own: set = { url = "https://…" }.
return {
  set = { url = "https://github.com" },
  san = { uri = "{url}/{job_workflow_ref}" },
  extensions = {
    github_workflow_trigger    = "{event_name}",
    github_workflow_sha        = "{sha}",
    github_workflow_name       = "{workflow}",
    github_workflow_repository = "{repository}",
    github_workflow_ref        = "{ref}",

    build_signer_uri    = "{url}/{job_workflow_ref}",
    build_signer_digest = "{job_workflow_sha}",
    runner_environment  = "{runner_environment}",

    source_repository_uri              = "{url}/{repository}",
    source_repository_digest           = "{sha}",
    source_repository_ref              = "{ref}",
    source_repository_identifier       = "{repository_id}",
    source_repository_owner_uri        = "{url}/{repository_owner}",
    source_repository_owner_identifier = "{repository_owner_id}",

    build_config_uri    = "{url}/{workflow_ref}",
    build_config_digest = "{workflow_sha}",
    build_trigger       = "{event_name}",
    run_invocation_uri  = "{url}/{repository}/actions/runs/{run_id}"
      .. "/attempts/{run_attempt}",

    source_repository_visibility_at_signing = "{repository_visibility}",
    deployment_environment                  = "{environment?}",
  },
}
