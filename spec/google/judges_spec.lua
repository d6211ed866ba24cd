local credentials = require("fulcio.google.credentials")
local engine = require("fulcio.engine")
local googleca = require("fulcio.ca.googleca")
local json = require("fulcio.json")
local log = require("fulcio.log")
local runtimes = require("spec.clients.runtimes")
local services = require("spec.google.service")

local JUDGE = runtimes.built .. "/google/bin/python"
  .. " spec/clients/google/judge.py "

-- Google's libraries say whether our requests, our fake and our tokens are
-- as theirs.
describe("Google's own libraries", function()
  local installed, missing, google

  setup(function()
    log.open({ mode = "prod", write = function() end })
    local done, why = runtimes.install("google")
    installed, missing = done, why
    google = services.start()
  end)

  teardown(function()
    if google then assert.is_true(google:stop()) end
    log.open({ mode = "prod" })
  end)

  before_each(function()
    if not installed then pending(missing) end
    google:order()
  end)

  local function judge(words)
    local pipe = io.popen(JUDGE .. words .. " 2>&1")
    local text = pipe:read("a")
    pipe:close()
    return text
  end

  local function agrees(text, count)
    assert.is_nil(text:find("not ok", 1, true), text)
    local _, good = text:gsub("ok [^\n]*\n", "")
    assert.equal(count, good, text)
  end

  local function open_ca()
    local file = google:write("account.json",
                              google:credentials().service_account)
    return assert(googleca.open({
      gcp_private_ca_parent = services.POOL, gcp_private_ca_version = "v1",
      gcp_private_ca_endpoint = google.url, workers = 1,
      gcp_token_hosts = { google.host },
      environment = { GOOGLE_APPLICATION_CREDENTIALS = file },
    }))
  end

  it("find our requests well formed", function()
    local ca = open_ca()
    local now = engine.system.now()
    for _, san in ipairs({
      { type = "email", value = "a@example.com" },
      { type = "uri", value = "https://github.com/acme/x@refs/heads/main" },
      { type = "other", oid = "1.3.6.1.4.1.57264.1.7",
        value = "a!example.com" } }) do
      local profile = {
        key = assert(engine.pkey.generate("P-256")), san = san,
        not_before = now, not_after = now + 600, issuer = ca.chain[1],
        subject = { { "O", "acme" }, { "CN", "x" } },
        key_usage = { "digital_signature" },
        extended_key_usage = { "code_signing" },
        extensions = { { oid = "1.3.6.1.4.1.57264.1.8", value = "\12\1x" },
                       { oid = "1.3.6.1.4.1.57264.1.1", value = "x",
                         critical = true } },
      }
      assert(ca:issue(profile, assert(engine.draft.new(profile))))
    end
    local list = json.list({})
    for _, request in ipairs(google:seen().asked) do
      if request.path:find("^/v1/") then list[#list + 1] = request end
    end
    assert.is_true(#list >= 6)
    agrees(judge("schema " .. google:write("requests.json", list)), #list)
  end)

  it("use the fake as they use the service", function()
    agrees(judge("client " .. google.url), 7)
  end)

  -- What was sent, without times, random numbers and clients' own names.
  local function form(text)
    local fields = {}
    for name, value in text:gmatch("([^&=]+)=([^&]*)") do
      fields[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
      end)
    end
    return fields
  end

  local function timeless(jwt)
    local parts = assert(engine.jws.parse(jwt))
    local claims = engine.claims.parse(parts.payload)
    claims.lifetime = claims.exp - claims.iat
    claims.iat, claims.exp = nil, nil
    return { header = engine.claims.parse(parts.header), claims = claims }
  end

  local function plain(request)
    local body, kind = request.body, request.headers["content-type"] or ""
    if kind:find("json") then
      body = engine.claims.parse(body)
      for name, value in pairs(body) do
        if value == engine.claims.null then body[name] = nil end
      end
    elseif body ~= "" then
      body = form(body)
      if body.assertion then body.assertion = timeless(body.assertion) end
    end
    local bearer = request.headers.authorization
    local query = request.query and form(request.query)
    return { method = request.method, path = request.path, query = query,
             body = body, kind = body ~= "" and kind or nil,
             flavor = request.headers["metadata-flavor"],
             bearer = bearer and bearer:match("^%a+ ") }
  end

  local function sent()
    local list = {}
    for _, request in ipairs(google:seen().asked) do
      -- google-auth also asks who it is.
      if not request.path:find("/default/$")
         and request.path ~= "/"
         and not request.path:find("allowedLocations")
         and not request.path:find("project%-id")
         and not request.path:find("universe%-domain") then
        list[#list + 1] = plain(request)
      end
    end
    google:order()
    return list
  end

  local function ours(environment)
    local held = assert(credentials.open({ environment = environment,
                                           hosts = { google.host } }))
    return assert(held:token(engine.system.monotonic() + 5)), held
  end

  local function theirs(words, environment)
    local prefix = "FAKE=" .. google.url .. " "
    for name, value in pairs(environment or {}) do
      prefix = prefix .. name .. "=" .. value .. " "
    end
    local pipe = io.popen("env " .. prefix .. JUDGE .. words .. " 2>&1")
    local text = pipe:read("a")
    pipe:close()
    local value = engine.claims.parse(text:match("{.*}") or "")
    return assert(value and value.token, text)
  end

  local kinds = { "authorized_user", "federated_file", "federated_url",
                  "federated_impersonated", "impersonated_user",
                  "impersonated_account" }

  for _, kind in ipairs(kinds) do
    it("obtain a token of " .. kind .. " as we do", function()
      local path = google:write(kind .. ".json",
                                google:credentials()[kind])
      theirs("token " .. path)
      local expected = sent()
      assert.is_true(#expected > 0)
      ours({ GOOGLE_APPLICATION_CREDENTIALS = path })
      assert.same(expected, sent())
    end)
  end

  it("sign a service account's token as we do, and exchange it", function()
    local path = google:write("service.json",
                              google:credentials().service_account)
    local token = theirs("token " .. path, { SELF_SIGNED = "1" })
    local own, held = ours({ GOOGLE_APPLICATION_CREDENTIALS = path })
    assert.same(timeless(token), timeless(own))
    assert.same({}, sent())
    theirs("token " .. path)
    local expected = sent()
    held:drop(own)
    assert(held:token(engine.system.monotonic() + 5))
    assert.same(expected, sent())
  end)

  it("ask the metadata server as we do", function()
    local environment = { GCE_METADATA_HOST = google.host,
                          HOME = google.directory }
    theirs("token", { GCE_METADATA_HOST = google.host,
                      GCE_METADATA_IP = google.host,
                      HOME = google.directory })
    local expected = sent()
    ours(environment)
    assert.same(expected, sent())
  end)
end)
