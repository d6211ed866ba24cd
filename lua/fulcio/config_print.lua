--- Imported configuration as policy files that an operator can keep.

local gowritten = require("fulcio.gowritten")
local policy_file = require("fulcio.policy_file")

local M = {}

-- A value in the policy language, or nil and why it has none.
local function written(value, default, needed, is_san)
  if type(value) ~= "table" then return value end
  if value.__word == "https" then return "https://" .. value[1] end
  if value.__word == "nonzero" then return { __word = "integer" } end
  if value.__word ~= "go" then
    local copy = {}
    for key, item in pairs(value) do copy[key] = item end
    return copy
  end
  local text, why, needs = gowritten.text(value, default, is_san)
  if not text then return nil, why end
  if needs then needed[needs] = { __word = "present" } end
  return text
end

local function reads_email(value)
  if type(value) == "string" then return value:find("{email[}?]") ~= nil end
  if type(value) ~= "table" then return false end
  for _, item in pairs(value) do
    if reads_email(item) then return true end
  end
  return value[1] == "email"
end

local function tidy(data, needed)
  if next(needed) then
    for name, matcher in pairs(data.must.__word and {} or data.must) do
      needed[name] = matcher
    end
    data.must = needed
  end
  local default = {}
  for name, text in pairs(data.default or {}) do
    if text ~= "" then default[name] = text end
  end
  data.default = next(default) and default or nil
  if data.unverified_email and not reads_email({ data.san, data.extensions })
  then
    data.unverified_email = nil
  end
end

--- A source of config_import.parse as plain policy data; nil and a list of
--- messages when the policy language cannot say it. There an empty claim is
--- an absent one, where Fulcio would leave out what is made of it.
function M.plain(source)
  local data, messages, needed = {}, {}, {}
  local default = source.data.default or {}
  for field, value in pairs(source.data) do data[field] = value end
  for _, field in ipairs({ "san", "extensions", "must" }) do
    local map = source.data[field]
    if map and not map.__word then
      data[field] = {}
      for name, value in pairs(map) do
        local why
        data[field][name], why = written(value, default, needed,
                                        field == "san")
        if why then
          messages[#messages + 1] = ("%s.%s cannot be written as a policy: %s")
            :format(field, name, why)
        end
      end
    end
  end
  if #messages > 0 then
    table.sort(messages)
    return nil, messages
  end
  tidy(data, needed)
  return data
end

--- The sources of config_import.parse as policy files: a list of { name,
--- text }; nil and errors. A CA certificate becomes a file of its own.
function M.files(sources)
  local files, errors = {}, {}
  for _, source in ipairs(sources) do
    local data, messages = M.plain(source)
    for _, message in ipairs(messages or {}) do
      errors[#errors + 1] = { file = source.path, line = source.line,
                              message = source.name .. ": " .. message }
    end
    if data then
      local pem = source.import.ca_cert
      if pem then
        data.ca_file = source.name:gsub("lua$", "pem")
        files[#files + 1] = { name = data.ca_file, text = pem }
      end
      files[#files + 1] = {
        name = source.name,
        text = policy_file.text(data, source.description) }
    end
  end
  if #errors > 0 then return nil, errors end
  return files
end

--- The same as one text, each file under a line with its name.
function M.text(sources)
  local files, errors = M.files(sources)
  if not files then return nil, errors end
  local out = {}
  for i, file in ipairs(files) do
    out[i] = ("-- %s\n%s"):format(file.name, file.text)
  end
  return table.concat(out, "\n")
end

return M
