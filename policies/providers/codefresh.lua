-- Codefresh pipelines. A platform of your own is named by the policy:
-- set = { platform_url = "https://codefresh.example.com" }
return {
  set  = { platform_url = "https://g.codefresh.io" },
  must = { workflow_id = present },
  san  = {
    uri = "{platform_url}/{account_name}/{pipeline_name}:{account_id}"
      .. "/{pipeline_id}",
  },
  extensions = {
    build_signer_uri      = "{platform_url}/build/{workflow_id}",
    runner_environment    = "{runner_environment?}",
    source_repository_uri = "{scm_repo_url?}",
    source_repository_ref = "{scm_ref?}",
    build_config_uri      = "{platform_url}/api/pipelines/{pipeline_id}",
    run_invocation_uri    = "{platform_url}/build/{workflow_id}",
  },
}
