--- `fulcio createca`: a root certificate for a key in an HSM or a file, or
--- a request for one, and the way back.

local chain = require("fulcio.ca.chain")
local engine = require("fulcio.engine")
local hsm = require("fulcio.hsm")
local keyholder = require("fulcio.keyholder")
local options = require("fulcio.options")
local shelf = require("fulcio.shelf")
local template = require("fulcio.template")

-- In the order of Go's pkix.Name, which Fulcio's roots have.
local parts = {
  { "C", "country" }, { "O", "org" }, { "L", "locality" },
  { "ST", "province" }, { "street", "street_address" },
  { "postalCode", "postal_code" }, { "CN", "common_name" },
}

local function refuse(errors)
  if type(errors) ~= "table" then errors = { errors } end
  for _, message in ipairs(errors) do
    io.stderr:write("fulcio createca: ", message, "\n")
  end
  return 1
end

local function subject(settings)
  local names = {}
  for _, part in ipairs(parts) do
    local text = settings[part[2]]
    if text ~= "" then names[#names + 1] = { part[1], text } end
  end
  return names
end

local function load_template(settings)
  local name = settings.template
  local found, message
  if name:find("[/.]") then
    local text
    text, message = shelf.read(name)
    found = text and { name = name, text = text }
  else
    found, message = shelf.find("templates", name)
  end
  if not found then return nil, "--template: " .. message end
  local loaded, errors = template.load(found.name, found.text)
  if not loaded then
    local wrong = errors[1]
    return nil, ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
  end
  if loaded.ca then return loaded end
  return nil, ("--template: %s makes no CA: ca = true"):format(name)
end

-- Writes once, and never over what is there.
local function write(path, text)
  if path == "" then return true end
  local ok, message = engine.system.write(path, text,
    { exclusive = true, mode = tonumber("644", 8) })
  if ok then return true end
  return nil, "--out: " .. message
end

local function make_root(settings, holder, kind)
  if settings.lifetime then kind.lifetime = settings.lifetime end
  local draft, der, message
  draft, message = engine.draft.new(template.profile(kind, holder.key, nil,
    engine.system.now(), nil, subject(settings), holder.key))
  if not draft then return nil, message end
  der, message = engine.draft.sign(draft:plain(), holder.key)
  if not der then return nil, message end
  local certificates
  certificates, message = engine.x509.parse(der)
  if not certificates then return nil, message end
  if settings.template ~= "root" then return certificates end
  local ok
  ok, message = chain.check(certificates, holder.key, engine.system.now())
  if not ok then return nil, message end
  return certificates
end

local function read_import(settings, holder)
  local text, message = shelf.read(settings.import)
  local certificates
  if text then certificates, message = engine.x509.parse(text) end
  if not certificates then return nil, "--import: " .. message end
  local ok
  ok, message = chain.check(certificates, holder.key, engine.system.now())
  if ok then return certificates end
  return nil, ("--import %s: %s"):format(settings.import, message)
end

-- The certificates that are to be kept, or a request's text.
local function make(settings, holder, kind)
  if settings.csr then
    return engine.csr.create({ key = holder.key,
                               subject = subject(settings) })
  elseif settings.import ~= "" then
    return read_import(settings, holder)
  end
  return make_root(settings, holder, kind)
end

local function pem_of(made)
  if type(made) == "string" then return made end
  local pems = {}
  for i, certificate in ipairs(made) do pems[i] = certificate.pem end
  return table.concat(pems)
end

-- The last second that a certificate can name (RFC 5280 section 4.1.2.5.2).
local LAST = 253402300799

local function lifetime_fault(seconds)
  if not seconds then return nil end
  if seconds >= 1 and engine.system.now() + seconds <= LAST then return nil end
  return "--lifetime: from 1s to the year 9999, such as 87600h"
end

local function timeout_fault(seconds)
  if seconds >= 1 and seconds <= 86400 then return nil end
  return "--hsm-timeout: from 1s to 24h"
end

local function template_fault(settings)
  local name = settings.template:match("([^/]*)%.lua$") or settings.template
  if name ~= "intermediate" or settings.csr or settings.import ~= "" then
    return nil
  end
  return "--template: an intermediate is signed by another CA: add --csr,"
    .. " and --import what comes back"
end

local function contradiction(settings)
  if settings.csr and settings.import ~= "" then
    return "--csr makes a request, --import ends one: give one of them"
  end
  if settings.out ~= "" and engine.system.stat(settings.out) then
    return ("--out: %s is there already and is not overwritten")
      :format(settings.out)
  end
  if settings.key == "" and settings.hsm_caroot_id == "" then
    return "--hsm-caroot-id must be set, or --key FILE without an HSM"
  end
  return lifetime_fault(settings.lifetime) or template_fault(settings)
    or timeout_fault(settings.hsm_timeout)
end

local function create(settings)
  local kind, holder, made, ok, wrong
  kind, wrong = load_template(settings)
  if not kind then return refuse(wrong) end
  holder, wrong = keyholder.open(settings)
  if not holder then return refuse(wrong) end
  made, wrong = make(settings, holder, kind)
  if not made then return refuse(wrong) end
  local text = pem_of(made)
  ok, wrong = write(settings.out, text)
  if not ok then return refuse(wrong) end
  if type(made) == "table" then
    ok, wrong = holder:store(made)
    if not ok then return refuse(wrong) end
  end
  io.stdout:write(text)
  return 0
end

-- A module that hangs cannot be stopped, but its process can.
local function create_in_token(settings)
  local status, message, code = engine.system.apart(function()
    local done = create(settings)
    io.stdout:flush()
    return ("%d"):format(done)
  end, math.ceil(settings.hsm_timeout))
  if status then return tonumber(status) end
  if code == "timeout" then
    local where = hsm.named(settings)
    message = ("%s: %s (--hsm-timeout)"):format(where and where.module
      or "the HSM", message)
  end
  return refuse(message)
end

local M = {}

--- Runs the command; returns the exit status.
function M.run(arguments)
  local settings, wrong = options.parse("createca", arguments)
  if not settings then return refuse(wrong) end
  wrong = contradiction(settings)
  if wrong then return refuse(wrong) end
  if settings.key:find("^pkcs11:") then
    settings.hsm_key_label, settings.key = settings.key, ""
  end
  if settings.key ~= "" then return create(settings) end
  return create_in_token(settings)
end

return M
