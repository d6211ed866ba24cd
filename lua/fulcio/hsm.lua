--- Which token and key an operator means: Fulcio's crypto11.conf, or a
--- PKCS#11 URI (RFC 7512) where a key is named.

local engine = require("fulcio.engine")
local nearest = require("fulcio.nearest")
local shelf = require("fulcio.shelf")

-- Where Debian keeps modules, for a path that leads nowhere.
local usual = {
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
  "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
}

-- crypto11's members, and ours: Init, Profile, PinSource.
local kinds = {
  Path = "string", TokenLabel = "string", TokenSerial = "string",
  SlotNumber = "number", Pin = "string",
  PinSource = "string", MaxSessions = "number", UserType = "number",
  PoolWaitTimeout = "number", LoginNotSupported = "boolean",
  UseGCMIVFromHSM = "boolean", GCMIVLength = "number",
  GCMIVFromHSMControl = "table", Init = "string", Profile = "string",
}

local NANOSECOND = 1e-9

-- Whole numbers, and the largest of each. crypto11 takes 0 for "not said".
local most = {
  MaxSessions = 1024, PoolWaitTimeout = 3600 / NANOSECOND,
  SlotNumber = 2 ^ 53, UserType = 1,
}

local profiles = {
  "aws-cloudhsm", "azure-cloud-hsm", "luna", "yubihsm2", "nshield",
  "gcp-kms", "nss", "tpm2", "kryoptic", "softhsm", "generic",
}

local function is_file(path)
  local found = engine.system.stat(path)
  return found ~= nil and found.kind == "file"
end

-- The one module of a folder, as the earliest Fulcio's README has it.
local function in_folder(path)
  local found = {}
  for _, name in ipairs(engine.system.list(path) or {}) do
    if name:find("%.so$") then found[#found + 1] = path .. "/" .. name end
  end
  if #found == 1 then return found[1] end
  if #found == 0 then return nil, path .. ": no PKCS#11 module in it" end
  return nil, ("%s: more than one module in it: %s"):format(path,
    table.concat(found, ", "))
end

-- The library that a path means: itself, or the one in that folder.
local function module_at(path)
  local found = engine.system.stat(path)
  if found and found.kind == "directory" then
    return in_folder((path:gsub("/+$", "")))
  end
  if found then return path end
  local message = path .. ": there is no such PKCS#11 module"
  for _, other in ipairs(usual) do
    if is_file(other) then
      return nil, message .. "; did you mean " .. other .. "?"
    end
  end
  return nil, message
end

-- Whether group or others may read or write it, as the engine asks of keys.
local function open_to_others(path)
  local found = engine.system.stat(path)
  local mode = found and found.mode or 0
  return mode % 8 >= 2 or math.floor(mode / 8) % 8 >= 2
end

-- The PIN of an RFC 7512 pin-source: file:/path, or env:NAME.
local function pin_from(source)
  local path = source:match("^file:(.*)$") or source:match("^(/.*)$")
  if path and open_to_others(path) then
    return nil, ("%s: PIN file is open to others (chmod 600 %s)"):format(path,
      path)
  end
  if path then return engine.system.secret("@" .. path) end
  if source:find("^env:") then return engine.system.secret(source) end
  return nil, ("pin-source %s: give file:/PATH or env:NAME"):format(source)
end

-- A PIN that was not given may be in the environment.
local function pin_of(value, source)
  if value and source then
    return nil, "a PIN and its source are given: leave one of them out"
  end
  if value then return value end
  if source then return pin_from(source) end
  if os.getenv("FULCIO_HSM_PIN") then
    return engine.system.secret("env:FULCIO_HSM_PIN")
  end
end

-- Where the file has no braces, as in the first README, they are meant.
local function parse(text)
  if text:find('^%s*"') then text = "{" .. text .. "}" end
  local values, message = engine.claims.parse(text)
  if type(values) == "table" then return values end
  return nil, "it is not JSON: " .. (message or "an object was expected")
end

local function check_numbers(values)
  for name, limit in pairs(most) do
    local value = values[name]
    if value and not (value >= 0 and value <= limit and value % 1 == 0) then
      return nil, ("%s must be a whole number, 0 to %.0f"):format(name, limit)
    end
  end
  return true
end

local function check_profile(name)
  if not name then return true end
  for _, known in ipairs(profiles) do
    if name == known then return true end
  end
  return nil, ("Profile: there is no %q%s"):format(name,
    nearest.hint(name, profiles))
end

-- What crypto11 takes for "not said": of these the slot alone may be 0.
local function said(value)
  if value ~= "" then return value end
end

local function above_zero(value)
  if value ~= 0 then return value end
end

local function check_token(values)
  local named = 0
  for _, name in ipairs({ "TokenSerial", "TokenLabel", "SlotNumber" }) do
    if said(values[name]) then named = named + 1 end
  end
  if named == 1 then return true end
  return nil, "give one of TokenLabel, TokenSerial and SlotNumber"
end

local function check(values)
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  for name, value in pairs(values) do
    if not kinds[name] then
      return nil, ("unknown member %q%s"):format(tostring(name),
        nearest.hint(tostring(name), names))
    elseif type(value) ~= kinds[name] then
      return nil, ("%s must be a %s"):format(name, kinds[name])
    end
  end
  if not values.Path then return nil, "Path is missing: the module" end
  local ok, message = check_numbers(values)
  if ok then ok, message = check_profile(values.Profile) end
  if not ok then return nil, message end
  return check_token(values)
end

local M = {}

--- What engine.pkcs11.open takes, from a crypto11.conf; nil and a message
--- that names the file.
function M.read(path)
  local text, message = shelf.read(path)
  local values, ok, module, pin
  if not text then return nil, message end
  values, message = parse(text)
  if values then ok, message = check(values) end
  if ok then module, message = module_at(values.Path) end
  if not module then return nil, path .. ": " .. message end
  pin, message = pin_of(said(values.Pin), said(values.PinSource))
  if message then return nil, path .. ": " .. message end
  local wait = above_zero(values.PoolWaitTimeout)
  return {
    module = module, init = values.Init, label = said(values.TokenLabel),
    serial = said(values.TokenSerial), slot = values.SlotNumber,
    pin = pin, profile = values.Profile,
    sessions = above_zero(values.MaxSessions),
    wait = wait and wait * NANOSECOND,
    login = not values.LoginNotSupported,
  }
end

--- The same from a URI, with the key's label and CKA_ID beside it.
function M.read_uri(text)
  local uri, message = engine.pkcs11.parse_uri(text)
  local module, pin
  if not uri then return nil, message end
  if not uri.module_path then
    return nil, "the URI has no module-path: …?module-path=/PATH/LIBRARY.so"
  end
  module, message = module_at(uri.module_path)
  if not module then return nil, message end
  pin, message = pin_of(uri.pin_value, uri.pin_source)
  if message then return nil, message end
  return {
    module = module, label = uri.token, serial = uri.serial,
    slot = uri.slot_id, pin = pin, manufacturer = uri.manufacturer,
    model = uri.model,
  }, { label = uri.object, id = uri.id }
end

--- What a command's flags name: the options of engine.pkcs11.open and the
--- key's { label, id }; nil and a message.
function M.named(options)
  local given = options.hsm_key_label
  if given:find("^pkcs11:") then
    local token, key = M.read_uri(given)
    if not token then return nil, "--hsm-key-label: " .. key end
    if key.label or key.id then return token, key end
    return nil, "--hsm-key-label: the URI names no key: object= or id="
  end
  local token, message = M.read(options.pkcs11_config_path)
  if not token then return nil, "--pkcs11-config-path: " .. message end
  return token, { label = given }
end

--- What an operator should be told of the flags' file: Fulcio's has the PIN
--- in it, and mostly everyone may read it, so it is no reason to stop.
function M.warning(options)
  local path = options.pkcs11_config_path
  local uri = options.hsm_key_label:find("^pkcs11:")
  local values = not uri and parse(shelf.read(path) or "")
  if values and values.Pin and open_to_others(path) then
    return ("%s: a PIN is in it, and it is open to others (chmod 600 %s)")
      :format(path, path)
  end
end

return M
