--- Cross-origin requests, with the headers that Fulcio's answers have.
---
--- Every origin may ask; `authorization` is not allowed, so a browser sends
--- its token in the body.

local methods = { GET = true, POST = true, HEAD = true }
local allowed = { accept = true, ["content-type"] = true,
                  ["x-requested-with"] = true }

local VARY = "Origin, Access-Control-Request-Method,"
  .. " Access-Control-Request-Headers"

local function from_elsewhere(headers)
  return headers.origin ~= nil and headers.origin ~= ""
end

local function permitted(request)
  local headers = request.headers
  if not from_elsewhere(headers) then return false end
  if not methods[headers["access-control-request-method"]] then
    return false
  end
  local asked = headers["access-control-request-headers"] or ""
  for name in asked:lower():gmatch("[^,%s]+") do
    if not allowed[name] then return false end
  end
  return true
end

local M = {}

--- The answer to a preflight request, nil when the request is not one. A
--- refused one is answered alike, without the permission.
function M.preflight(request)
  local headers = request.headers
  local method = headers["access-control-request-method"]
  if request.method ~= "OPTIONS" or not method then return nil end
  local answer = { vary = VARY }
  if permitted(request) then
    answer["access-control-allow-origin"] = "*"
    answer["access-control-allow-methods"] = method
    answer["access-control-allow-headers"] =
      headers["access-control-request-headers"]
  end
  return { status = 204, headers = answer, body = "" }
end

--- Adds to an answer what every one needs.
function M.apply(request, response)
  local headers = response.headers
  headers.vary = "Origin"
  local may = methods[request.method] or request.method == "OPTIONS"
  if may and from_elsewhere(request.headers) then
    headers["access-control-allow-origin"] = "*"
  end
  return response
end

return M
