--- GET /openapi.json: the API as an OpenAPI document, for programs.
---
--- What an address is for is said here, what is sent and answered in
--- schemas.lua; every address of routes.lua is described.

local engine = require("fulcio.engine")
local json = require("fulcio.json")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local schemas = require("fulcio.schemas")

local JSON, PEM = "application/json", "application/pem-certificate-chain"
local BEARER, NONE = { bearer = json.list({}) }, {}

local function of(name)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local function content(kind, schema)
  return { [kind] = { schema = schema } }
end

local function json_answer(name, description)
  return { description = description, content = content(JSON, of(name)) }
end

local function pem_answer(description)
  return { description = description,
           content = content(PEM, { type = "string" }) }
end

local function body(name)
  return { required = true, content = content(JSON, of(name)) }
end

local detached_sct = {
  SCT = { schema = { type = "string", format = "byte" },
          description = "the SCT, when the certificate has none in it" },
}

local v1_answer = pem_answer("The certificate and its chain, leaf first")
v1_answer.headers = detached_sct

-- "METHOD path" to what there is to say of it. `refuses`: statuses besides
-- those that any request may get.
local operations = {
  ["POST /api/v2/signingCert"] = {
    operationId = "createSigningCertificate",
    summary = "Issues a certificate for a key",
    -- The token may be in the body as well.
    security = json.list({ BEARER, NONE }),
    requestBody = body("SigningRequest"),
    status = "200", refuses = { 400, 408, 413, 500, 503 },
    answer = json_answer("SigningCertificate",
                         "The certificate and its chain, leaf first"),
  },
  ["POST /api/v1/signingCert"] = {
    operationId = "createSigningCertificateV1", deprecated = true,
    summary = "Issues a certificate for a key, for older clients",
    security = json.list({ BEARER }),
    requestBody = body("SigningRequestV1"),
    status = "201", refuses = { 400, 408, 413, 500, 503 },
    answer = v1_answer,
  },
  ["GET /api/v2/trustBundle"] = {
    operationId = "getTrustBundle",
    summary = "What a verifier of these certificates trusts",
    answer = json_answer("TrustBundle", "Chains, roots last"),
  },
  ["GET /api/v2/configuration"] = {
    operationId = "getConfiguration",
    summary = "Whose tokens are taken",
    answer = json_answer("Configuration", "Every issuer"),
  },
  ["GET /api/v1/rootCert"] = {
    operationId = "getRootCertificate", deprecated = true,
    summary = "The trust bundle as one text, for older clients",
    answer = pem_answer("Every certificate of the bundle"),
  },
  ["GET /healthz"] = {
    operationId = "getHealth",
    summary = "Whether a certificate could be issued now",
    refuses = { 503 },
    answer = json_answer("Health", "It could"),
  },
  ["GET /openapi.json"] = {
    operationId = "getDocument", summary = "This document",
    answer = { description = "An OpenAPI document",
               content = content(JSON, { type = "object" }) },
  },
  ["GET /"] = {
    operationId = "getPage", summary = "A page for people",
    answer = { description = "HTML",
               content = content("text/html", { type = "string" }) },
  },
}

local meanings = {
  [400] = "Refused: token, identity, key, proof or the request itself",
  [408] = "The request took too long to arrive",
  [413] = "The request is too large",
  [500] = "The CA or the log failed",
  [503] = "The CA or the log is away, or there is too much to do",
}

local function reasons(status)
  local found = {}
  for code, row in pairs(refusal.rows) do
    if row[1] == status then found[#found + 1] = code:upper() end
  end
  table.sort(found)
  return table.concat(found, ", ")
end

local function refusals(of_operation, answers)
  for _, status in ipairs(of_operation.refuses or {}) do
    local answer = json_answer("Error", ("%s. Reasons: %s"):format(
      meanings[status], reasons(status)))
    if status == 503 then
      answer.headers = { ["Retry-After"] = {
        schema = { type = "integer" }, description = "seconds" } }
    end
    answers[("%d"):format(status)] = answer
  end
  answers.default = json_answer("Error", "Any other refusal")
  return answers
end

local function operation(described)
  return {
    operationId = described.operationId,
    summary = described.summary,
    deprecated = described.deprecated,
    security = described.security,
    requestBody = described.requestBody,
    responses = refusals(described, {
      [described.status or "200"] = described.answer }),
  }
end

local function document()
  local paths = {}
  for address, described in pairs(operations) do
    local method, path = address:match("^(%u+) (.+)$")
    paths[path] = paths[path] or {}
    paths[path][method:lower()] = operation(described)
  end
  return {
    openapi = "3.0.3",
    info = { title = "fulcio", version = engine.version,
             description = "A certificate authority for code signing",
             license = { name = "Apache-2.0" } },
    paths = paths,
    components = {
      schemas = schemas,
      securitySchemes = { bearer = { type = "http", scheme = "bearer",
                                     bearerFormat = "JWT" } },
    },
  }
end

local text

local M = {}

--- The addresses that the document describes: "METHOD path" as a set.
M.described = operations

--- GET /openapi.json
function M.show()
  text = text or json.encode(document())
  return reply.json(text)
end

return M
