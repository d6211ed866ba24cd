--- The policies a server was told to use: `--policies`, `--config-path`, or
--- with `--development` the development issuer's.
---
--- Reading and loading are apart: the supervisor reads, and what it read is
--- loaded by every worker alike.

local config_import = require("fulcio.config_import")
local engine = require("fulcio.engine")
local log = require("fulcio.log")
local policy = require("fulcio.policy")
local shelf = require("fulcio.shelf")

local CONFIG = { "/etc/fulcio-config/config.yaml",
                 "/etc/fulcio-config/config.json" }

local REMEDY = "nobody could get a certificate: give --policies DIR or"
  .. " --config-path FILE (or --development to try it out)"

-- The identity configuration to use, nil when there is none.
local function config_path(options)
  if options.config_path ~= "" then return options.config_path end
  if options.policies ~= "" then return nil end
  for _, path in ipairs(CONFIG) do
    if engine.system.stat(path) then return path end
  end
end

local function development()
  local path = shelf.shipped .. "/issuers/development.lua"
  local text, message = shelf.read(path)
  if not text then return nil, message end
  return { { name = "development.lua", text = text,
             dir = shelf.shipped .. "/issuers" } }
end

local function read_config(path)
  local text, message = shelf.read(path)
  if not text then return nil, "--config-path: " .. message end
  return { name = path, text = text, config = true }
end

local function worded(errors)
  local list = {}
  for i, wrong in ipairs(errors) do
    list[i] = ("%s:%d: %s"):format(wrong.file, wrong.line, wrong.message)
  end
  return list
end

local M = {}

-- Sources of the options, however well they can be read.
local function named(options)
  local sources, message = {}
  if options.policies ~= "" then
    sources, message = policy.read(options.policies)
    if not sources then return nil, "--policies: " .. message end
  end
  local path = config_path(options)
  if not path then return sources end
  sources[#sources + 1], message = read_config(path)
  if message then return nil, message end
  return sources
end

--- What the options name, as a list of { name, text, dir or config }; nil
--- and a message.
function M.read(options)
  local sources, message = named(options)
  if not sources then return nil, message end
  for _, source in ipairs(sources) do
    if not engine.bytes.is_utf8(source.text) then
      return nil, source.name .. ": is not UTF-8"
    end
  end
  if sources[1] then return sources end
  if options.development then return development() end
  return nil, REMEDY
end

--- Makes a set of what was read; nil and a list of all that is wrong. A
--- third result lists what was left out, since no token could pass it.
--- `whole`: files that policies name must be there as well.
function M.load(sources, options, whole)
  local list, errors, warnings = {}, {}, {}
  for _, source in ipairs(sources) do
    local found, wrong, left = { source }, nil, nil
    if source.config then
      found, wrong, left = config_import.parse(source.name, source.text)
    end
    for _, one in ipairs(left or {}) do warnings[#warnings + 1] = one end
    for _, one in ipairs(found or {}) do list[#list + 1] = one end
    for _, one in ipairs(wrong or {}) do errors[#errors + 1] = one end
  end
  if errors[1] then return nil, worded(errors) end
  local set
  set, errors = policy.load(list, {
    development = options.development, loopback = options.loopback,
    files = whole })
  if not set then return nil, worded(errors) end
  return set, nil, worded(warnings)
end

--- Logs what a load has left out.
function M.tell(warnings)
  for _, message in ipairs(warnings or {}) do
    log.warn("left out of the policies", { warning = message })
  end
end

local function folder_stamp(out, dir)
  for _, name in ipairs(engine.system.list(dir) or {}) do
    local found = engine.system.stat(dir .. "/" .. name)
    if found and found.kind == "file" then
      out[#out + 1] = name .. " " .. found.stamp
    end
  end
end

--- A text that changes when a file that `read` or `load` reads does.
function M.stamp(options)
  local out = {}
  if options.policies ~= "" then
    folder_stamp(out, options.policies)
    folder_stamp(out, options.policies .. "/providers")
    folder_stamp(out, options.policies .. "/templates")
  end
  local path = config_path(options)
  local found = path and engine.system.stat(path)
  if found then out[#out + 1] = path .. " " .. found.stamp end
  return table.concat(out, "\n")
end

return M
