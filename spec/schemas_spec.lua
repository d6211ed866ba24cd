local json = require("fulcio.json")
local schemas = require("fulcio.schemas")

-- Every schema within a value, with the path to it.
local function each(value, path, visit)
  if type(value) ~= "table" then return end
  visit(value, path)
  for name, member in pairs(value) do
    each(member, path .. "." .. name, visit)
  end
end

describe("schemas", function()
  it("require no property that they do not have", function()
    for name, schema in pairs(schemas) do
      each(schema, name, function(value, path)
        if value.type ~= "object" then return end
        for _, required in ipairs(value.required or {}) do
          assert.is_table(value.properties[required], path)
        end
        for _, choice in ipairs(value.oneOf or {}) do
          assert.is_table(value.properties[choice.required[1]], path)
        end
      end)
    end
  end)

  it("refer to each other alone", function()
    for name in json.encode(schemas):gmatch("#/components/schemas/(%w+)") do
      assert.is_table(schemas[name], name)
    end
  end)
end)
