--- Fulcio's identity types as policies: what each of them asks of a token
--- and writes into a certificate.

local engine = require("fulcio.engine")
local rules = require("fulcio.fulcio_rules")
local words = require("fulcio.words")

local M = {}

local anyone, present = { __word = "anyone" }, { __word = "present" }

local function url(base, path)
  return { __word = "url", count = 2, base, path }
end

local function required(...)
  local must = {}
  for _, name in ipairs({ ... }) do must[name] = present end
  return must
end

-- A text of the operator's as a template that says just that.
local function literal(text)
  return (text:gsub("{", "{{"))
end

local builders = {}

-- "$.federated_claims.connector_id" or "$['a']['b']" as a path.
local function json_path(text)
  local path, at = {}, text:match("^%$()")
  while at and at <= #text do
    local name, after = text:match("^%.([%w_-]+)()", at)
    if not name then name, after = text:match("^%['([^']+)'%]()", at) end
    if not name then name, after = text:match('^%["([^"]+)"%]()', at) end
    path[#path + 1], at = name, after
  end
  if not at or #path == 0 then return nil end
  return table.concat(path, "/")
end

function builders.email(issuer)
  local data = { must = anyone, san = { email = "{email}" } }
  if issuer.skip then data.unverified_email = true end
  if issuer.issuer_claim ~= "" then
    local path = json_path(issuer.issuer_claim)
    if not path then
      return nil, ("issuer-claim %s cannot become data: $.name.name can")
        :format(words.text(issuer.issuer_claim))
    end
    data.issuer_name = "{" .. path .. "}"
  end
  return data
end

function builders.uri(issuer)
  local domain = engine.uri.parse(issuer.subject_domain)
  return {
    must = { sub = { __word = "within", count = 1,
                     domain.scheme .. "://" .. domain.host } },
    san = { uri = "{sub}" },
  }
end

function builders.username(issuer)
  return { must = anyone,
           san = { username = "{sub}!" .. literal(issuer.subject_domain) } }
end

function builders.spiffe(issuer)
  return {
    must = { sub = { __word = "spiffe", count = 1,
                     rules.trust_domain(issuer.trust_domain) } },
    san = { uri = "{sub}" },
  }
end

function builders.kubernetes()
  return { must = anyone, san = {
    uri = "https://kubernetes.io/namespaces/{kubernetes.io/namespace}"
      .. "/serviceaccounts/{kubernetes.io/serviceaccount/name}" } }
end

builders["github-workflow"] = function()
  local base = "https://github.com/"
  return {
    must = required("job_workflow_ref", "sha", "event_name", "repository",
      "workflow", "ref", "job_workflow_sha", "runner_environment",
      "repository_id", "repository_owner", "repository_owner_id",
      "repository_visibility", "workflow_ref", "workflow_sha", "run_id",
      "run_attempt"),
    san = { uri = url(base, "{job_workflow_ref}") },
    extensions = {
      github_workflow_trigger = "{event_name}",
      github_workflow_sha = "{sha}",
      github_workflow_name = "{workflow}",
      github_workflow_repository = "{repository}",
      github_workflow_ref = "{ref}",
      build_signer_uri = url(base, "{job_workflow_ref}"),
      build_signer_digest = "{job_workflow_sha}",
      runner_environment = "{runner_environment}",
      source_repository_uri = url(base, "{repository}"),
      source_repository_digest = "{sha}",
      source_repository_ref = "{ref}",
      source_repository_identifier = "{repository_id}",
      source_repository_owner_uri = url(base, "{repository_owner}"),
      source_repository_owner_identifier = "{repository_owner_id}",
      build_config_uri = url(base, "{workflow_ref}"),
      build_config_digest = "{workflow_sha}",
      build_trigger = "{event_name}",
      run_invocation_uri = url(base,
        "{repository}/actions/runs/{run_id}/attempts/{run_attempt}"),
      source_repository_visibility_at_signing = "{repository_visibility}",
    },
  }
end

builders["gitlab-pipeline"] = function()
  local base = "https://gitlab.com/"
  local config = { __word = "https", "{ci_config_ref_uri}" }
  local must = required("project_path", "pipeline_source", "pipeline_id",
    "ci_config_ref_uri", "job_id", "ref", "namespace_path",
    "namespace_id", "project_id", "sha", "runner_environment")
  must.ref_type = { "branch", "tag" }
  must.runner_id = { __word = "nonzero" }
  return {
    must = must,
    san = { uri = config },
    extensions = {
      build_signer_uri = config,
      build_signer_digest = "{ci_config_sha?}",
      runner_environment = "{runner_environment}",
      source_repository_uri = url(base, "{project_path}"),
      source_repository_digest = "{sha}",
      source_repository_ref = { __word = "pick", count = 2, "ref_type", {
        branch = "refs/heads/{ref}", tag = "refs/tags/{ref}" } },
      source_repository_identifier = "{project_id}",
      source_repository_owner_uri = url(base, "{namespace_path}"),
      source_repository_owner_identifier = "{namespace_id}",
      build_config_uri = config,
      build_config_digest = "{ci_config_sha?}",
      build_trigger = "{pipeline_source}",
      run_invocation_uri = url(base, "{project_path}/-/jobs/{job_id}"),
      source_repository_visibility_at_signing = "{project_visibility?}",
    },
  }
end

builders["buildkite-job"] = function()
  return {
    must = required("organization_slug", "pipeline_slug"),
    san = { uri = "https://buildkite.com/{organization_slug}"
      .. "/{pipeline_slug}" },
  }
end

builders["codefresh-workflow"] = function()
  local base = "{platform_url}"
  return {
    must = required("account_id", "pipeline_id", "workflow_id"),
    default = { platform_url = "https://g.codefresh.io" },
    san = { uri = url(base, "{account_name}/{pipeline_name}:{account_id}"
      .. "/{pipeline_id}") },
    extensions = {
      build_signer_uri = url(base, "build/{workflow_id}"),
      runner_environment = "{runner_environment?}",
      source_repository_uri = "{scm_repo_url?}",
      source_repository_ref = "{scm_ref?}",
      build_config_uri = url(base, "api/pipelines/{pipeline_id}"),
      run_invocation_uri = url(base, "build/{workflow_id}"),
    },
  }
end

builders["chainguard-identity"] = function()
  return { must = required("sub"), san = { uri = url("{iss}", "{sub}") },
           challenge = { "{email}", "{sub}" } }
end

--- The data of a policy for an issuer's type, without issuer and audience;
--- nil and a message. "ci-provider" is elsewhere, made of templates.
function M.data(issuer)
  return builders[issuer.type](issuer)
end

return M
