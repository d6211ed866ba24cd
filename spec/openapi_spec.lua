local engine = require("fulcio.engine")
local json = require("fulcio.json")
local log = require("fulcio.log")
local openapi = require("fulcio.openapi")
local routes = require("fulcio.routes")
local server = require("fulcio.server")
local worlds = require("spec.world")

local document = assert(engine.claims.parse(openapi.show().body))

local function resolve(schema)
  local name = schema["$ref"]
    and schema["$ref"]:match("^#/components/schemas/(.+)$")
  if not name then return schema end
  return assert(document.components.schemas[name], "no schema " .. name)
end

local fits

local function fits_object(value, schema, path)
  for _, name in ipairs(schema.required or {}) do
    assert(value[name] ~= nil, path .. ": no " .. name)
  end
  for name, member in pairs(value) do
    local known = (schema.properties or {})[name]
      or schema.additionalProperties
    assert(known or not schema.properties, path .. ": unknown " .. name)
    if known then fits(member, known, path .. "." .. name) end
  end
end

local function fits_one(value, schema, path)
  local found = 0
  for _, choice in ipairs(schema.oneOf) do
    if value[choice.required[1]] ~= nil then found = found + 1 end
  end
  assert(found == 1, ("%s: %d of oneOf"):format(path, found))
end

local types = {
  string = function(value) assert.is_string(value) end,
  boolean = function(value) assert.is_boolean(value) end,
  integer = function(value)
    assert.is_number(value)
    assert.equal(0, value % 1)
  end,
  object = fits_object,
  array = function(value, schema, path)
    assert.is_table(value, path)
    for i, item in ipairs(value) do
      fits(item, schema.items, ("%s[%d]"):format(path, i))
    end
  end,
}

-- Throws unless a value is what a schema says and has nothing else.
function fits(value, schema, path)
  schema = resolve(schema)
  if value == engine.claims.null then
    return assert(schema.nullable, path .. " is null")
  end
  assert(types[schema.type], path .. ": no type")(value, schema, path)
  if schema.format == "byte" then assert(engine.bytes.unbase64(value)) end
  if schema.oneOf then fits_one(value, schema, path) end
  for i, choice in ipairs(schema.enum or {}) do
    if choice == value then break end
    assert(schema.enum[i + 1], path .. ": not of the enum")
  end
end

describe("openapi", function()
  local world

  setup(function()
    log.open({ mode = "prod", write = function() end })
    world = worlds.new()
  end)

  teardown(function() log.open({ mode = "prod" }) end)

  local function operation(method, path)
    return document.paths[path][method:lower()]
  end

  -- The answer, which must be what the document says of its status.
  local function ask(method, path, body, headers, context)
    local response = server.handle({ method = method, path = path,
      body = body or "", headers = headers or {}, peer = "", id = 1 },
      context or world.context)
    local responses = operation(method, path).responses
    local said = assert(responses[("%d"):format(response.status)],
                        ("%s: a status of %d"):format(path, response.status))
    local kind = response.headers["content-type"]:match("^[^;]+")
    local schema = assert(said.content[kind], kind).schema
    local value = response.body
    if kind == "application/json" then
      value = assert(engine.claims.parse(value))
    end
    fits(value, schema, path)
    return response, value
  end

  -- A request's body must be what the document says too.
  local function post(path, value, headers, context)
    local body = type(value) == "string" and value or json.encode(value)
    local wanted = operation("POST", path).requestBody.content
    fits(engine.claims.parse(body), wanted["application/json"].schema, path)
    return ask("POST", path, body, headers, context)
  end

  local function v2(changes)
    return engine.claims.parse(world:v2((world:asked(changes))))
  end

  it("describes every address, and no other", function()
    local known = {}
    for _, route in ipairs(routes) do
      known[route[1] .. " " .. route[2]] = true
      assert.is_table(operation(route[1], route[2]),
                      route[1] .. " " .. route[2])
    end
    for address in pairs(openapi.described) do
      assert.is_true(known[address], address)
    end
  end)

  it("names each operation once, and no schema that is not there", function()
    local seen = {}
    for _, methods in pairs(document.paths) do
      for _, described in pairs(methods) do
        assert.is_nil(seen[described.operationId])
        seen[described.operationId] = true
      end
    end
    for name in json.encode(document):gmatch("schemas/(%w+)") do
      assert.is_table(document.components.schemas[name], name)
    end
  end)

  it("fits what GET answers", function()
    for _, route in ipairs(routes) do
      if route[1] == "GET" then
        assert.equal(200, ask(route[1], route[2]).status)
      end
    end
  end)

  it("fits certificates with an SCT in them, and without a log", function()
    assert.equal(200, post("/api/v2/signingCert", v2()).status)
    local alone = worlds.new({ log = false })
    local asked = alone:asked()
    local request = engine.claims.parse(alone:v2(asked))
    local _, value = post("/api/v2/signingCert", request, nil, alone.context)
    assert.is_table(value.signedCertificateDetachedSct)
  end)

  it("fits older clients, who send null for no request", function()
    local asked = world:asked()
    local body = json.encode({
      publicKey = { content = engine.bytes.base64(asked.public_key) },
      signedEmailAddress = engine.bytes.base64(asked.proof),
    }):gsub("}$", ',"certificateSigningRequest":null}')
    assert.equal(201, post("/api/v1/signingCert", body,
      { authorization = "Bearer " .. asked.token }).status)
  end)

  it("fits refusals of the token, the key and the proof", function()
    for _, changes in ipairs({ { token = "a.b" }, { public_key = "none" },
                               { proof = "x" } }) do
      local response, value = post("/api/v2/signingCert", v2(changes))
      assert.equal(400, response.status)
      local said = operation("POST", "/api/v2/signingCert").responses["400"]
      assert.matches(value.details[1].reason, said.description, 1, true)
    end
  end)

  it("fits trouble with the log, which healthz tells too", function()
    world.log.down = true
    finally(function() world.log.down = nil end)
    assert.equal(503, post("/api/v2/signingCert", v2()).status)
    assert.equal(503, ask("GET", "/healthz").status)
  end)

  it("does not fit what is something else", function()
    local schema = { ["$ref"] = "#/components/schemas/Error" }
    local good = { code = 3, message = "x", details = {} }
    fits(good, schema, "good")
    for name, value in pairs({ code = "3", message = 3, more = "x",
                               details = { { reason = "X" } } }) do
      local bad = { code = 3, message = "x", details = {} }
      bad[name] = value
      assert.has_error(function() fits(bad, schema, "bad") end)
    end
  end)
end)
