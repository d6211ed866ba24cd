--- `fulcio try POLICY CLAIMS.json`: what the certificate would say for a
--- token of these claims, or why there would be none.

local check = require("fulcio.check")
local engine = require("fulcio.engine")
local shelf = require("fulcio.shelf")

local USAGE = [[
usage: fulcio try POLICY CLAIMS.json [--development]
       POLICY: a policy, a folder of them, or Fulcio's configuration
]]

local kinds = { email = "email", uri = "URI", other = "otherName" }

local M = {}

local function row(out, name, text)
  out[#out + 1] = ("  %-11s%s"):format(name, text)
end

--- A grant for people, one line each.
function M.granted(grant)
  local out = { "granted by " .. grant.policy }
  row(out, "name", kinds[grant.san.type] .. " " .. grant.san.value)
  row(out, "challenge", grant.challenge)
  row(out, "template", ("%s, %d seconds"):format(
    grant.template.name, grant.template.lifetime))
  for i, extension in ipairs(grant.extensions) do
    local short = extension.oid:match("^1%.3%.6%.1%.4%.1%.57264%.1(%.%d+)$")
    local name = short and extension.name or ""
    out[#out + 1] = ("  %-4s %s"):format(short or extension.oid,
      (name .. " = " .. grant.texts[i]):gsub("^ = ", "= "))
  end
  return out
end

local logged = { "policy", "field", "must", "file", "detail", "issuer" }

--- A refusal for people: the reason, the claim, and what only logs say.
function M.refused(refused)
  local out = { "refused: " .. refused.reason }
  if refused.client.claim then row(out, "claim", refused.client.claim) end
  for _, name in ipairs(logged) do
    if refused.log[name] then row(out, name, tostring(refused.log[name])) end
  end
  return out
end

local function read_claims(path)
  local text, message = shelf.read(path)
  if not text then return nil, message end
  local claims
  claims, message = engine.claims.parse(text)
  if type(claims) ~= "table" then
    return nil, ("%s: %s"):format(path, message or "not a JSON object")
  end
  return claims
end

local function write(out, lines)
  for _, line in ipairs(lines) do out:write(line, "\n") end
end

--- Runs the command: exit status 0 when granted, 1 when refused, 2 when it
--- could not be tried.
function M.run(arguments, stdout, stderr)
  stdout, stderr = stdout or io.stdout, stderr or io.stderr
  local files, options = {}, {}
  for _, argument in ipairs(arguments) do
    if argument == "--development" then
      options.development = true
    else
      files[#files + 1] = argument
    end
  end
  if #files ~= 2 or table.concat(files, " "):find("^%-") then
    stderr:write(USAGE)
    return 2
  end
  local claims, message = read_claims(files[2])
  local set, found = check.load(files[1], options)
  if not set or not claims then
    write(stderr, set and {} or found)
    write(stderr, { message })
    return 2
  end
  local grant, refused = set:decide(claims)
  write(stdout, grant and M.granted(grant) or M.refused(refused))
  return grant and 0 or 1
end

return M
