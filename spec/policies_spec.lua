--- Every shipped policy: what it grants, and what it refuses.

local engine = require("fulcio.engine")
local policy = require("fulcio.policy")
local tokens = require("spec.identities")

-- Policies -------------------------------------------------------------

local email_refusals = {
  { "email", nil, "CLAIM_MISSING", "email" },
  { "email", "not an address", "CLAIM_INVALID", "email" },
  { "email_verified", false, "EMAIL_NOT_VERIFIED", "email_verified" },
}
local github_refusals = {
  { "sha", nil, "CLAIM_MISSING", "sha" },
  { "job_workflow_ref", nil, "CLAIM_MISSING", "job_workflow_ref" },
  { "repository", { "o/r" }, "CLAIM_INVALID", "repository" },
}
local gitlab_refusals = {
  { "runner_id", "4", "MUST_NOT_MET", "runner_id" },
  { "ref_type", "other", "CLAIM_INVALID", "ref_type" },
  { "project_path", "", "CLAIM_MISSING", "project_path" },
}
local kubernetes_refusals = {
  { "kubernetes.io", nil, "CLAIM_MISSING", "kubernetes.io/namespace" },
  { "kubernetes.io", { namespace = "n" }, "CLAIM_MISSING",
    "kubernetes.io/serviceaccount/name" },
  { "kubernetes.io", { namespace = { "n" } }, "CLAIM_INVALID",
    "kubernetes.io/namespace" },
}
local buddy_refusals = {
  { "pipeline_id", engine.claims.null, "CLAIM_MISSING", "pipeline_id" },
  { "project_name", "a\nb", "CLAIM_INVALID", "project_name" },
  { "triggered_on", nil, "CLAIM_MISSING", "triggered_on" },
}
local circleci_refusals = {
  { "oidc.circleci.com/project-id", nil, "CLAIM_MISSING",
    "oidc.circleci.com/project-id" },
  { "oidc.circleci.com/job-id", "", "CLAIM_MISSING",
    "oidc.circleci.com/job-id" },
  { "oidc.circleci.com/pipeline-definition-id", {}, "CLAIM_INVALID",
    "oidc.circleci.com/pipeline-definition-id" },
}

local GITHUB = "https://github.com/o/w/.github/workflows/x.yml@refs/heads/main"
local GITLAB = "https://gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main"
local CIRCLE = "https://circleci.com/api/v2/projects/project-id"
  .. "/pipeline-definitions/pipeline-definition-id"
local CLUSTER = "https://kubernetes.io/namespaces/default"
  .. "/serviceaccounts/builder"
local BUDDY = "https://app.buddy.works/w/p/pipelines/pipeline/45289"

-- file = { issuers, token, name, what some extensions say, refusals,
-- issuers that are not meant }
local shipped = {
  google = { { "https://accounts.google.com" }, "email", "user@example.com",
    { issuer = "https://accounts.google.com" }, email_refusals,
    "https://accounts.google.com/" },
  sigstore = { { "https://oauth2.sigstore.dev/auth" }, "email",
    "user@example.com", { issuer = "https://idp.example" }, {
      { "federated_claims", nil, "CLAIM_MISSING",
        "federated_claims/connector_id" },
      email_refusals[1], email_refusals[3] } },
  sigstage = { { "https://oauth2.sigstage.dev/auth" }, "email",
    "user@example.com", { issuer_v2 = "https://idp.example" },
    email_refusals },
  eclipse = {
    { "https://auth.eclipse.org/auth/realms/foundation-service-accounts" },
    "email", "user@example.com", {}, email_refusals },
  hello = { { "https://issuer.hello.coop" }, "email", "user@example.com", {},
    email_refusals },
  kaggle = { { "https://www.kaggle.com/api/v1/models/signing" }, "email",
    "user@example.com", {}, email_refusals },
  ibm = { { "https://sigstore.verify.ibm.com/oauth2" }, "email",
    "user@example.com", {}, email_refusals },
  development = { { "http://127.0.0.1:5556" }, "email", "user@example.com",
    {}, email_refusals },
  github = { { "https://token.actions.githubusercontent.com" }, "github",
    GITHUB, { build_signer_uri = GITHUB, github_workflow_ref =
      "refs/heads/main", deployment_environment = "production",
      run_invocation_uri = "https://github.com/o/r/actions/runs/3/attempts/4"
    }, github_refusals, "https://token.actions.githubusercontent.com/acme" },
  github_enterprise = { { "https://token.actions.githubusercontent.com/acme" },
    "github", GITHUB, {}, github_refusals,
    "https://token.actions.githubusercontent.com/a/b" },
  gitlab = { { "https://gitlab.com" }, "gitlab", GITLAB, {
    source_repository_ref = "refs/heads/main", build_config_digest = "b",
    run_invocation_uri = "https://gitlab.com/g/p/-/jobs/3" },
    gitlab_refusals },
  gitlab_dev = { { "https://dev.gitlab.org" }, "gitlab", GITLAB, {
    source_repository_uri = "https://dev.gitlab.org/g/p" }, gitlab_refusals },
  gitlab_ops = { { "https://ops.gitlab.net" }, "gitlab", GITLAB, {
    source_repository_uri = "https://ops.gitlab.net/g/p" }, gitlab_refusals },
  gitlab_archlinux = { { "https://gitlab.archlinux.org" }, "gitlab", GITLAB,
    { source_repository_uri = "https://gitlab.archlinux.org/g/p" },
    gitlab_refusals },
  buildkite = { { "https://agent.buildkite.com" }, "buildkite",
    "https://buildkite.com/acme/app", { run_invocation_uri =
      "https://buildkite.com/acme/app/builds/7#j", build_trigger = "ui" }, {
      { "organization_slug", nil, "CLAIM_MISSING", "organization_slug" },
      { "pipeline_slug", { "a" }, "CLAIM_INVALID", "pipeline_slug" },
      { "build_commit", "", "CLAIM_MISSING", "build_commit" } } },
  codefresh = { { "https://oidc.codefresh.io" }, "codefresh",
    "https://g.codefresh.io/acme/p/q:1/2", { build_config_uri =
      "https://g.codefresh.io/api/pipelines/2", source_repository_ref =
      "main" }, {
      { "workflow_id", nil, "CLAIM_MISSING", "workflow_id" },
      { "account_name", nil, "CLAIM_MISSING", "account_name" },
      { "pipeline_id", { 2 }, "CLAIM_INVALID", "pipeline_id" } } },
  circleci = { { "https://oidc.circleci.com",
    "https://oidc.circleci.com/org/3d6c" }, "circleci", CIRCLE, {
      run_invocation_uri =
        "https://app.circleci.com/workflow/workflow-id/job/job-id",
      source_repository_uri = "github.com/acme/app" }, circleci_refusals,
    "https://oidc.circleci.com/org/a/b" },
  buddy = { { "https://oidc.buddyusercontent.com",
    "https://eu-oidc.buddyusercontent.com",
    "https://asia-oidc.buddyusercontent.com" }, "buddy", BUDDY, {
      run_invocation_uri = BUDDY .. "/execution/e" }, buddy_refusals },
  buddy_staging = { { "https://dev-oidc.buddyusercontent.com",
    "https://psd-oidc.buddyusercontent.com",
    "https://stage-oidc.buddyusercontent.com" }, "buddy", BUDDY, {},
    buddy_refusals },
  chainguard = { { "https://issuer.enforce.dev" }, "chainguard",
    "https://issuer.enforce.dev/4d26/9f1a", {}, {
      { "sub", nil, "CLAIM_MISSING", "sub" },
      { "sub", { "a" }, "CLAIM_INVALID", "sub" },
      { "email", "a@example.com", "EMAIL_NOT_VERIFIED", "email_verified" } },
  },
  aks = { { "https://oidc.prod-aks.azure.com/1",
    "https://oidc.prod-aks.azure.com/1/", "https://oidc.prod-aks.azure.com/1/2",
    "https://eu.oic.prod-aks.azure.com/1/2",
    "https://eu.oic.prod-aks.azure.com/1/2/" }, "kubernetes", CLUSTER, {},
    kubernetes_refusals, "https://a.b.oic.prod-aks.azure.com/1/2" },
  eks = { { "https://oidc.eks.us-west-2.amazonaws.com/id/B02C" },
    "kubernetes", CLUSTER, {}, kubernetes_refusals,
    "https://oidc.eks.evil.example/amazonaws.com/id/B02C" },
  gke = { { "https://container.googleapis.com/v1/projects/p/locations/l"
    .. "/clusters/c" }, "kubernetes", CLUSTER, {}, kubernetes_refusals,
    "https://container.googleapis.com/v1/projects/p/locations/l/clusters/" },
  kubernetes = { { "https://kubernetes.default.svc" }, "kubernetes", CLUSTER,
    {}, kubernetes_refusals },
  spiffe = { { "https://oidc.example.com" }, "spiffe",
    "spiffe://example.com/ns/prod", {}, {
      { "sub", "spiffe://evil.example/ns/prod", "MUST_NOT_MET", "sub" },
      { "sub", "https://example.com/ns/prod", "MUST_NOT_MET", "sub, sub" },
      { "sub", nil, "CLAIM_MISSING", "sub, sub" } } },
}

local function read(name)
  local file = assert(io.open("policies/issuers/" .. name .. ".lua"))
  local text = file:read("*a")
  file:close()
  return { name = name .. ".lua", text = text }
end

local function load(name)
  return assert(policy.load({ read(name) }, { development = true }))
end

local function said(grant, name)
  for i, extension in ipairs(grant.extensions) do
    if extension.name == name then return grant.texts[i] end
  end
end

local function shown(value)
  return type(value) == "string" and value:gsub("%c", "?") or type(value)
end

describe("policies", function()
  for name, row in pairs(shipped) do
    describe(name, function()
      local issuers, kind, subject, says, refusals, not_meant =
        row[1], row[2], row[3], row[4], row[5], row[6]

      local function token(iss)
        local claims = tokens[kind]()
        claims.iss, claims.aud = iss or issuers[1], "sigstore"
        return claims
      end

      for _, iss in ipairs(issuers) do
        it("grants a token of " .. iss, function()
          local grant, why = load(name):decide(token(iss))
          assert(grant, why and tostring(why) .. " "
                 .. tostring(why.client.claim))
          assert.equal(subject, grant.san.value)
          for extension, text in pairs(says) do
            assert.equal(text, said(grant, extension))
          end
        end)
      end

      for _, refusal in ipairs(refusals) do
        local claim, value, reason, named = refusal[1], refusal[2],
          refusal[3], refusal[4]
        it(("refuses %s = %s"):format(claim, shown(value)), function()
          local claims = token()
          claims[claim] = value
          local grant, why = load(name):decide(claims)
          assert.is_nil(grant)
          assert.equal(reason, why.reason)
          assert.equal(named, why.client.claim)
        end)
      end

      it("refuses another audience and another issuer", function()
        local claims = token()
        claims.aud = "other"
        assert.equal("WRONG_AUDIENCE",
                     select(2, load(name):decide(claims)).reason)
        claims = token(not_meant or "https://evil.example")
        assert.equal("UNKNOWN_ISSUER",
                     select(2, load(name):decide(claims)).reason)
      end)
    end)
  end

  it("are all tried here", function()
    for _, file in ipairs(engine.system.list("policies/issuers")) do
      local name = assert(file:match("^(.*)%.lua$"), file)
      assert.truthy(shipped[name], name .. " is not tried")
      assert.is_true(#shipped[name][5] >= 3)
    end
  end)

  it("load together", function()
    local sources = {}
    for name in pairs(shipped) do sources[#sources + 1] = read(name) end
    local set, errors = policy.load(sources, { development = true,
                                               folder = "policies" })
    assert(set, errors and errors[1] and errors[1].message)
  end)
end)
