--- What the tokens of each shipped provider say, without issuer.

local tokens = {}

function tokens.email()
  return { sub = "1", email = "user@example.com", email_verified = true,
           federated_claims = { connector_id = "https://idp.example" } }
end

function tokens.github()
  return {
    sub = "repo:o/r:ref:refs/heads/main", sha = "a", event_name = "push",
    repository = "o/r", workflow = "w", ref = "refs/heads/main",
    job_workflow_ref = "o/w/.github/workflows/x.yml@refs/heads/main",
    job_workflow_sha = "b", runner_environment = "github-hosted",
    repository_id = "1", repository_owner = "o", repository_owner_id = "2",
    repository_visibility = "public", workflow_sha = "c", run_id = "3",
    workflow_ref = "o/r/.github/workflows/y.yml@refs/heads/main",
    run_attempt = "4", environment = "production",
  }
end

function tokens.gitlab()
  return {
    sub = "project_path:g/p:ref_type:branch:ref:main", namespace_id = "1",
    namespace_path = "g", project_id = "2", project_path = "g/p",
    pipeline_source = "push", job_id = "3", ref = "main",
    ref_type = "branch", runner_id = 4, runner_environment = "gitlab-hosted",
    sha = "a", project_visibility = "public", ci_config_sha = "b",
    ci_config_ref_uri = "gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main",
  }
end

function tokens.kubernetes()
  return { sub = "system:serviceaccount:default:builder",
           ["kubernetes.io"] = { namespace = "default",
             serviceaccount = { name = "builder", uid = "1" } } }
end

function tokens.buildkite()
  return { sub = "organization:acme", organization_slug = "acme",
           pipeline_slug = "app", build_number = 7, job_id = "j",
           build_commit = "a", build_source = "ui" }
end

function tokens.codefresh()
  return { sub = "account:1", account_id = "1", account_name = "acme",
           pipeline_id = "2", pipeline_name = "p/q", workflow_id = "3",
           scm_repo_url = "https://github.com/o/r", scm_ref = "main",
           runner_environment = "hybrid" }
end

function tokens.circleci()
  local token = { sub = "org/1" }
  for _, name in ipairs({ "project-id", "pipeline-id", "workflow-id",
                          "pipeline-definition-id", "job-id" }) do
    token["oidc.circleci.com/" .. name] = name
  end
  token["oidc.circleci.com/ssh-rerun"] = false
  token["oidc.circleci.com/vcs-ref"] = "refs/heads/main"
  token["oidc.circleci.com/vcs-origin"] = "github.com/acme/app"
  return token
end

function tokens.buddy()
  return { sub = "x", workspace_domain = "w", project_name = "p",
           pipeline_id = 45289, execution_id = "e", triggered_on = "MANUAL",
           runner_environment = "platform-hosted" }
end

function tokens.chainguard()
  return { sub = "4d26/9f1a" }
end

function tokens.spiffe()
  return { sub = "spiffe://example.com/ns/prod" }
end

function tokens.uri()
  return { sub = "https://example.com/people/someone" }
end

function tokens.username()
  return { sub = "someone" }
end

return tokens
