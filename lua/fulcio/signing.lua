--- Issues one certificate and returns its chain, leaf first.
--- A step that fails throws its refusal; only server.lua catches it.

local engine = require("fulcio.engine")
local log = require("fulcio.log")
local metrics = require("fulcio.metrics")
local proof = require("fulcio.proof")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")
local request = require("fulcio.request")
local template = require("fulcio.template")
local token = require("fulcio.token")
local trust = require("fulcio.trust")

local base64, monotonic = engine.bytes.base64, engine.system.monotonic

local stages = {}
for _, name in ipairs({ "token", "policy", "proof", "precertificate", "log",
                        "certificate" }) do
  stages[name] = metrics.series("fulcio_stage_seconds", name)
end

local function results(name)
  return { ok = metrics.series(name, "ok"),
           failed = metrics.series(name, "failed") }
end

local signatures = results("fulcio_ca_signatures_total")
local submissions = results("fulcio_ct_submissions_total")

-- Counts the time a stage took that began at `since`; returns the time now.
local function lap(stage, since)
  local now = monotonic()
  stages[stage](now - since)
  return now
end

-- No certificate outlives the chain it hangs on; a backend that makes it by
-- itself sees to that.
local function alive(ca, grant, now)
  if not ca.embeds then return true end
  if now + grant.template.lifetime <= ca.expires then return true end
  return nil, refusal("ca_unavailable", { log = {
    error = "the CA's chain ends before the certificate would" } })
end

local function sign(ca, tbs)
  local der, message, code, seconds = ca:sign(tbs)
  signatures[der and "ok" or "failed"]()
  if der then return der end
  local gone = code == "hsm_gone" or code == "hsm_busy"
    or code == "bad_pin" or code == "pin_locked"
  return nil, refusal(gone and "ca_unavailable" or "ca_failed", {
    retry_after = gone and seconds and math.max(1, math.ceil(seconds)) or nil,
    log = { error = message, code = code } })
end

-- The certificate with its SCT in it, or without one when there is no log.
local function certify(context, ca, draft)
  if not context.log then return assert(sign(ca, draft:plain())) end
  local at = monotonic()
  local precert = assert(sign(ca, draft:poisoned()))
  at = lap("precertificate", at)
  local sct, refused = context.log:submit(precert, ca.chain, "precert",
    draft:plain())
  submissions[sct and "ok" or "failed"]()
  assert(sct, refused)
  at = lap("log", at)
  local leaf = assert(sign(ca, draft:stamped(engine.sct.list({ sct }))))
  lap("certificate", at)
  return leaf
end

-- A log's answer as Go writes it: what a detached SCT is.
local function detached(sct)
  return ('{"sct_version":0,"id":"%s","timestamp":%d,"extensions":"%s",'
    .. '"signature":"%s"}'):format(base64(sct.log_id), sct.timestamp_ms,
      base64(sct.extensions), base64(sct.signature))
end

-- The certificate (an x509 object) of a backend that makes it by itself,
-- its chain, and its SCT when there is a log.
local function obtain(context, ca, draft, profile)
  local at = monotonic()
  local leaf, chain = ca:issue(profile, draft)
  signatures[leaf and "ok" or "failed"]()
  if not leaf then error(chain, 0) end
  at = lap("certificate", at)
  if not context.log then return leaf, chain end
  local signed, sct = context.log:submit(leaf.der, chain, "x509")
  submissions[signed and "ok" or "failed"]()
  assert(signed, sct)
  lap("log", at)
  return leaf, chain, detached(sct)
end

local function record(grant, serial, key)
  metrics.issued(grant.issuer)
  log.info("certificate issued", {
    serial = serial, issuer = grant.issuer, subject = grant.subject,
    san = grant.san.value, policy = grant.policy, public_key = key.name,
  })
end

-- A step's value; throws its refusal, which then names the issuer that the
-- token has been shown to come from.
local function step(claims, value, refused)
  if value then return value end
  refused.issuer = claims.iss
  error(refused, 0)
end

local M = {}

--- Issues a certificate for `asked`: token, and public_key with proof or
--- csr. The answer has `leaf` (DER), `above` (PEM texts without final
--- newline, the rest of its chain) and `embedded`: whether the leaf has its
--- SCT in it; else `sct` is the log's answer, JSON text, when there is a log.
function M.issue(context, asked)
  -- A reload while we wait changes nothing for this request.
  local ca, policies = context.ca, context.policies
  local now, at = engine.system.now(), monotonic()
  local claims = assert(token.verify(asked.token, policies, context.issuers,
                                     now))
  at = lap("token", at)
  local grant = step(claims, policies:decide(claims))
  at = lap("policy", at)
  local key = step(claims, proof.verify(asked, grant, context.algorithms))
  lap("proof", at)
  assert(alive(ca, grant, now))
  local draft, profile = template.fill(grant, key, ca.chain[1], now)
  step(claims, draft, profile)
  if not ca.embeds then
    local leaf, above, sct = obtain(context, ca, draft, profile)
    record(grant, leaf.serial, key)
    return { leaf = leaf.der, above = trust.chain({ chain = above }),
             embedded = false, sct = sct }
  end
  local leaf = certify(context, ca, draft)
  record(grant, draft.serial, key)
  return { leaf = leaf, above = trust.chain(ca),
           embedded = context.log ~= nil }
end

--- POST /api/v2/signingCert
function M.v2(http, context)
  return reply.certificate_v2(M.issue(context, request.v2(http)))
end

--- POST /api/v1/signingCert
function M.v1(http, context)
  return reply.certificate_v1(M.issue(context, request.v1(http)))
end

return M
