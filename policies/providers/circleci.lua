-- CircleCI jobs.
return {
  set = {
    api_url      = "https://circleci.com/api/v2",
    platform_url = "https://app.circleci.com",
  },
  san = {
    uri = "{api_url}/projects/{oidc.circleci.com/project-id}"
      .. "/pipeline-definitions/{oidc.circleci.com/pipeline-definition-id}",
  },
  extensions = {
    build_signer_uri = "{api_url}/projects/{oidc.circleci.com/project-id}"
      .. "/pipeline-definitions/{oidc.circleci.com/pipeline-definition-id}",
    runner_environment = pick("oidc.circleci.com/ssh-rerun", {
      ["true"] = "ssh-rerun",
    }, false),
    source_repository_uri = "{oidc.circleci.com/vcs-origin?}",
    source_repository_ref = "{oidc.circleci.com/vcs-ref?}",
    build_config_uri = "{api_url}/pipeline/{oidc.circleci.com/pipeline-id}"
      .. "/config",
    run_invocation_uri = "{platform_url}"
      .. "/workflow/{oidc.circleci.com/workflow-id}"
      .. "/job/{oidc.circleci.com/job-id}",
  },
}
