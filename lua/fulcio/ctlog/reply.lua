--- What a log answers: JSON, or a status with its reason in plain text.

local engine = require("fulcio.engine")

local base64 = engine.bytes.base64

local titles = {
  [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found",
  [405] = "Method Not Allowed", [408] = "Request Timeout",
  [413] = "Request Entity Too Large",
  [431] = "Request Header Fields Too Large",
  [500] = "Internal Server Error", [501] = "Not Implemented",
  [503] = "Service Unavailable",
}

local M = {}

--- What a failure of the log itself is called to others; its reason is for
--- our own record.
M.UNAVAILABLE = "the log cannot answer now, try again"

--- 200 with a JSON text.
function M.json(text, cache_control)
  return { status = 200, body = text, headers = {
    ["content-type"] = "application/json",
    ["access-control-allow-origin"] = "*",
    ["cache-control"] = cache_control,
  } }
end

--- A refusal in ctfe's form: the status in words, then the detail.
function M.refuse(status, detail)
  local title = titles[status] or tostring(status)
  return {
    status = status, body = ("%s\n%s\n"):format(title, detail or title),
    headers = {
      ["content-type"] = "text/plain; charset=utf-8",
      ["access-control-allow-origin"] = "*",
      ["retry-after"] = status == 503 and "1" or nil,
    },
  }
end

--- The answer to a failure of the log itself.
function M.unavailable()
  return M.refuse(503, M.UNAVAILABLE)
end

--- A JSON list of byte strings, in base64.
function M.list(all)
  local texts = {}
  for i = 1, #all do texts[i] = '"' .. base64(all[i]) .. '"' end
  return "[" .. table.concat(texts, ",") .. "]"
end

return M
