--- What a template calls the keys that clients may have.

local nearest = require("fulcio.nearest")
local proof = require("fulcio.proof")
local words = require("fulcio.words")

local M = {}

-- Short names of keys, each with the hash that is its own.
local short = {
  ["P-256"] = { "ecdsa-sha2-256-nistp256" },
  ["P-384"] = { "ecdsa-sha2-384-nistp384" },
  ["P-521"] = { "ecdsa-sha2-512-nistp521" },
  ["Ed25519"] = { "ed25519" },
}
for _, least in ipairs({ 4096, 3072, 2048 }) do
  local only = ("rsa-sign-pkcs1-%d-sha256"):format(least)
  local larger = short[("RSA-%d+"):format(least + 1024)] or {}
  short["RSA-" .. least] = { only }
  short[("RSA-%d+"):format(least)] = { only, larger[1], larger[2] }
end

local key_names = {}
for name in pairs(short) do key_names[#key_names + 1] = name end
table.sort(key_names)
for _, name in ipairs(proof.default) do key_names[#key_names + 1] = name end

--- The keys that a list of names allows, as proof.verify takes them.
--- Fulcio's names or short ones ("P-256", "RSA-2048+"); nil and a message
--- for a name nobody knows.
function M.allowed(list)
  local names = {}
  for _, name in ipairs(list) do
    for _, long in ipairs(short[name] or { name }) do
      names[#names + 1] = long
    end
  end
  local allowed, message = proof.algorithms(names)
  if allowed then return allowed end
  local unknown = message:match("flag: (.*)$")
  return nil, ("unknown key %s%s"):format(words.show(unknown),
    nearest.hint(unknown, key_names))
end

return M
