--- Whether this process could issue a certificate now.

local log = require("fulcio.log")
local refusal = require("fulcio.refusal")
local reply = require("fulcio.reply")

local SERVING = '{"status":"SERVING"}\n'

local M = {}

--- What a certificate lives unless a template says otherwise, in seconds.
M.LIFETIME = 600

--- Whether the log, if there is one, takes what this CA signs; nil and why
--- not.
function M.log_ready(context)
  if not context.log then return true end
  local chain = context.ca.chain
  return context.log:ready(chain[#chain])
end

--- true, or nil and the refusal that a request for a certificate would get.
function M.ready(context)
  local ok, message = context.ca:ready(M.LIFETIME)
  if not ok then
    return nil, refusal("ca_unavailable", { log = { error = message } })
  end
  ok, message = M.log_ready(context)
  if not ok then
    return nil, refusal("ct_unavailable", { log = { error = message } })
  end
  return true
end

--- GET /healthz
function M.check(_, context)
  local ok, refused = M.ready(context)
  if ok then return reply.json(SERVING) end
  log.refused(refused, { path = "/healthz" })
  local answer = reply.refusal(refused)
  answer.status = 503
  answer.body = answer.body:gsub("^{", '{"status":"NOT_SERVING",')
  return answer
end

return M
