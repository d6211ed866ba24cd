local types = require("fulcio.fulcio_types")

local function data(kind, more)
  local issuer = { type = kind, issuer_claim = "", subject_domain = "",
                   trust_domain = "" }
  for name, value in pairs(more or {}) do issuer[name] = value end
  return types.data(issuer)
end

describe("fulcio_types", function()
  it("has data for every type but ci-provider", function()
    for kind, more in pairs({
      email = {}, kubernetes = {}, ["github-workflow"] = {},
      ["gitlab-pipeline"] = {}, ["buildkite-job"] = {},
      ["codefresh-workflow"] = {}, ["chainguard-identity"] = {},
      uri = { subject_domain = "https://h.example" },
      username = { subject_domain = "h.example" },
      spiffe = { trust_domain = "h.example" },
    }) do
      local policy = assert(data(kind, more))
      assert.is_table(policy.must)
      assert.is_table(policy.san)
    end
  end)

  it("takes scheme and host of a subject domain, and no more", function()
    assert.equal("https://users.example.com",
      data("uri", { subject_domain = "https://users.example.com:8443/x" })
        .must.sub[1])
  end)

  it("never takes a domain for a template", function()
    assert.equal("{sub}!{{x}.example",
      data("username", { subject_domain = "{x}.example" }).san.username)
  end)

  it("reads the JSONPaths that are names, and refuses others", function()
    for path, text in pairs({ ["$.a"] = "{a}", ["$.a.b_c"] = "{a/b_c}",
                              ["$['a b']['c']"] = "{a b/c}",
                              ['$["a"].b'] = "{a/b}" }) do
      assert.equal(text, data("email", { issuer_claim = path }).issuer_name)
    end
    for _, path in ipairs({ "$", "a", "$.a[0]", "$..a", "$.*", "$.a[?(@.b)]",
                            "$.a." }) do
      local policy, message = data("email", { issuer_claim = path })
      assert.is_nil(policy)
      assert.equal("issuer-claim " .. path
                   .. " cannot become data: $.name.name can", message)
    end
    -- Each name once: a copy of what follows it took minutes.
    local long = ("a/"):rep(300000) .. "a"
    assert.equal("{" .. long .. "}", data("email", {
      issuer_claim = "$." .. long:gsub("/", ".") }).issuer_name)
  end)
end)
