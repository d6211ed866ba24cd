--- Server reflection (grpc.reflection.v1): descriptors of what we speak.
--
-- The descriptors are made from the tables in messages.lua that requests
-- are read with, so a listed method is one that is answered.

local messages = require("fulcio.messages")
local protobuf = require("fulcio.engine").protobuf

-- google/protobuf/descriptor.proto, the part that is used.
local FieldDescriptor = {
  { 1, "name", "string" },
  { 3, "number", "int32" },
  { 4, "label", "enum" },
  { 5, "type", "enum" },
  { 6, "type_name", "string" },
  { 9, "oneof_index", "int32", oneof = "index" },
  { 10, "json_name", "string" },
}
local Named = { { 1, "name", "string" } }
local EnumValue = {
  { 1, "name", "string" },
  { 2, "number", "int32", oneof = "number_set" },
}
local EnumDescriptor = {
  { 1, "name", "string" },
  { 2, "value", "message", EnumValue, repeated = true },
}
local Descriptor = {
  { 1, "name", "string" },
  { 2, "field", "message", FieldDescriptor, repeated = true },
  { 4, "enum_type", "message", EnumDescriptor, repeated = true },
  { 8, "oneof_decl", "message", Named, repeated = true },
}
local MethodDescriptor = {
  { 1, "name", "string" },
  { 2, "input_type", "string" },
  { 3, "output_type", "string" },
  { 5, "client_streaming", "bool" },
  { 6, "server_streaming", "bool" },
}
local ServiceDescriptor = {
  { 1, "name", "string" },
  { 2, "method", "message", MethodDescriptor, repeated = true },
}
local FileDescriptor = {
  { 1, "name", "string" },
  { 2, "package", "string" },
  { 3, "dependency", "string", repeated = true },
  { 4, "message_type", "message", Descriptor, repeated = true },
  { 5, "enum_type", "message", EnumDescriptor, repeated = true },
  { 6, "service", "message", ServiceDescriptor, repeated = true },
  { 12, "syntax", "string" },
}

local type_numbers = {
  bool = 8, string = 9, message = 11, bytes = 12, enum = 14, int32 = 5,
}

local NOT_FOUND, UNIMPLEMENTED = 5, 12

-- FieldDescriptorProto.Label.
local OPTIONAL, REPEATED = 1, 3

local M = {}

local function json_name(name)
  return (name:gsub("_(%l)", string.upper))
end

-- Where a message or enum is defined: ".package.Name".
local qualified = {}
for _, package in ipairs(messages.packages) do
  for name, item in pairs(package) do
    if type(item) == "table" and item.name == name then
      qualified[item] = "." .. package.package .. "." .. name
    end
  end
end
-- The protocol nests this one in HealthCheckResponse.
local nested = {
  [messages.health.ServingStatus] = messages.health.HealthCheckResponse,
}
for inner, outer in pairs(nested) do
  qualified[inner] = qualified[outer] .. "." .. inner.name
end

local function is_enum(item)
  return item[0] ~= nil
end

local function enum_descriptor(enum)
  local values = {}
  for number = 0, #enum do
    values[#values + 1] = { name = enum[number], number = number }
  end
  return { name = enum.name, value = values }
end

local function field_descriptor(field, oneofs)
  return {
    name = field[2],
    number = field[1],
    label = field.repeated and REPEATED or OPTIONAL,
    type = type_numbers[field[3]],
    type_name = field[4] and qualified[field[4]],
    oneof_index = field.oneof and oneofs[field.oneof] - 1,
    json_name = json_name(field[2]),
  }
end

local function message_descriptor(message)
  local fields, oneofs, declared = {}, {}, {}
  for _, field in ipairs(message) do
    if field.oneof and not oneofs[field.oneof] then
      declared[#declared + 1] = { name = field.oneof }
      oneofs[field.oneof] = #declared
    end
    fields[#fields + 1] = field_descriptor(field, oneofs)
  end
  local enums = {}
  for inner, outer in pairs(nested) do
    if outer == message then enums[1] = enum_descriptor(inner) end
  end
  return { name = message.name, field = fields, oneof_decl = declared,
           enum_type = enums }
end

local function service_descriptor(service)
  local methods = {}
  for _, method in ipairs(service) do
    methods[#methods + 1] = {
      name = method[1],
      input_type = qualified[method[2]],
      output_type = qualified[method[3]],
      client_streaming = method.client_streams,
      server_streaming = method.server_streams,
    }
  end
  return { name = service.name, method = methods }
end

local function file_descriptor(package)
  local names = {}
  for name, item in pairs(package) do
    if qualified[item] and not nested[item] then names[#names + 1] = name end
  end
  table.sort(names)
  local file = { name = package.file, package = package.package,
                 syntax = "proto3", dependency = {}, message_type = {},
                 enum_type = {}, service = {} }
  for _, needed in ipairs(package.needs or {}) do
    table.insert(file.dependency, needed.file)
  end
  for _, name in ipairs(names) do
    local item = package[name]
    if is_enum(item) then
      table.insert(file.enum_type, enum_descriptor(item))
    else
      table.insert(file.message_type, message_descriptor(item))
    end
  end
  for _, service in ipairs(package.services or {}) do
    table.insert(file.service, service_descriptor(service))
  end
  return protobuf.encode(FileDescriptor, file)
end

-- Every name that can be asked for: the file it is in.
local by_file, by_symbol, service_names = {}, {}, {}

local function index(package)
  by_file[package.file] = package
  for name, item in pairs(package) do
    if qualified[item] then
      by_symbol[qualified[item]:sub(2)] = package
    elseif name == "services" then
      for _, service in ipairs(item) do
        local full = package.package .. "." .. service.name
        service_names[#service_names + 1] = { name = full }
        by_symbol[full] = package
        for _, method in ipairs(service) do
          by_symbol[full .. "." .. method[1]] = package
        end
      end
    end
  end
end

for _, package in ipairs(messages.packages) do index(package) end

-- The file and all that it imports, itself first.
local function with_dependencies(package, into)
  into[#into + 1] = file_descriptor(package)
  for _, needed in ipairs(package.needs or {}) do
    with_dependencies(needed, into)
  end
  return into
end

local function files(package, asked)
  if not package then
    return { error_response = { error_code = NOT_FOUND,
                                error_message = "unknown: " .. asked } }
  end
  return { file_descriptor_response = {
    file_descriptor_proto = with_dependencies(package, {}),
  } }
end

--- Answers one ServerReflectionRequest.
function M.answer(request)
  local response
  if request.list_services then
    response = { list_services_response = { service = service_names } }
  elseif request.file_containing_symbol then
    local symbol = request.file_containing_symbol
    response = files(by_symbol[symbol], symbol)
  elseif request.file_by_filename then
    local name = request.file_by_filename
    response = files(by_file[name], name)
  else
    response = { error_response = {
      error_code = UNIMPLEMENTED,
      error_message = "there are no extensions",
    } }
  end
  response.valid_host = request.host
  response.original_request = request
  return response
end

return M
