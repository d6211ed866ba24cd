-- Buildkite pipelines.
return {
  set = { url = "https://buildkite.com" },
  san = { uri = url("{url}", "{organization_slug}/{pipeline_slug}") },
  extensions = {
    run_invocation_uri = "{url}/{organization_slug}/{pipeline_slug}"
      .. "/builds/{build_number}#{job_id}",
    runner_environment       = "{runner_environment?}",
    source_repository_digest = "{build_commit}",
    build_trigger            = "{build_source}",
  },
}
