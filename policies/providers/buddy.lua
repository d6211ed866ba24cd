-- Buddy pipelines. Another region is named by the policy:
-- set = { base_url = "https://eu.buddy.works" }
return {
  set = { base_url = "https://app.buddy.works" },
  san = {
    uri = "{base_url}/{workspace_domain}/{project_name}"
      .. "/pipelines/pipeline/{pipeline_id}",
  },
  extensions = {
    build_signer_uri = "{base_url}/{workspace_domain}/{project_name}"
      .. "/pipelines/pipeline/{pipeline_id}",
    build_trigger               = "{triggered_on}",
    runner_environment          = "{runner_environment}",
    source_repository_uri       = "{base_url}/{workspace_domain}"
      .. "/{project_name}",
    source_repository_digest    = "{revision?}",
    source_repository_ref       = "{ref?}",
    source_repository_owner_uri = "{base_url}/{workspace_domain}",
    run_invocation_uri = "{base_url}/{workspace_domain}/{project_name}"
      .. "/pipelines/pipeline/{pipeline_id}/execution/{execution_id}",
  },
}
