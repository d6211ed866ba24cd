local messages = require("fulcio.messages").reflection
local protobuf = require("fulcio.engine").protobuf
local reflection = require("fulcio.reflection")

describe("reflection", function()
  it("lists every service", function()
    local answer = reflection.answer({ list_services = "", host = "h" })
    local names = {}
    for _, service in ipairs(answer.list_services_response.service) do
      names[service.name] = true
    end
    assert.same({
      ["dev.sigstore.fulcio.v2.CA"] = true,
      ["dev.sigstore.fulcio.v1beta.CA"] = true,
      ["grpc.health.v1.Health"] = true,
      ["grpc.reflection.v1.ServerReflection"] = true,
      ["grpc.reflection.v1alpha.ServerReflection"] = true,
    }, names)
    assert.equal("h", answer.valid_host)
  end)

  it("finds a file by any symbol in it, with what it imports", function()
    for symbol, count in pairs({
      ["dev.sigstore.fulcio.v2.CA"] = 1,
      ["dev.sigstore.fulcio.v2.CA.GetTrustBundle"] = 1,
      ["dev.sigstore.fulcio.v2.PublicKeyAlgorithm"] = 1,
      ["dev.sigstore.fulcio.v1beta.CA"] = 3,
      ["grpc.health.v1.HealthCheckResponse.ServingStatus"] = 1,
    }) do
      local answer = reflection.answer({ file_containing_symbol = symbol })
      local files = answer.file_descriptor_response
      assert.equal(count, #files.file_descriptor_proto, symbol)
    end
  end)

  it("names every type that a method or field uses", function()
    for _, package in ipairs(require("fulcio.messages").packages) do
      local answer = reflection.answer({ file_by_filename = package.file })
      local file = answer.file_descriptor_response.file_descriptor_proto[1]
      -- An unnamed type would be an empty input_type or output_type.
      assert.is_nil(file:find("\18\0\26", 1, true), package.file)
      for _, service in ipairs(package.services or {}) do
        for _, method in ipairs(service) do
          assert.truthy(file:find("." .. method[2].name, 1, true))
          assert.truthy(file:find("." .. method[3].name, 1, true))
        end
      end
    end
  end)

  it("gives a file by its name", function()
    local answer = reflection.answer({ file_by_filename = "fulcio.proto" })
    local file = answer.file_descriptor_response.file_descriptor_proto[1]
    assert.truthy(file:find("CreateSigningCertificateRequest", 1, true))
  end)

  it("repeats what it was asked, also a negative number", function()
    local asked = { file_containing_extension = { containing_type = "x",
                                                  extension_number = -1 } }
    local kind = messages.ServerReflectionResponse
    local answer = assert(protobuf.decode(kind,
      protobuf.encode(kind, reflection.answer(asked))))
    assert.same(asked.file_containing_extension,
                answer.original_request.file_containing_extension)
    assert.equal(12, answer.error_response.error_code)
  end)

  it("says so when there is no such symbol, file or extension", function()
    for field, code in pairs({ file_containing_symbol = 5,
                               file_by_filename = 5,
                               all_extension_numbers_of_type = 12 }) do
      local answer = reflection.answer({ [field] = "nothing" })
      assert.equal(code, answer.error_response.error_code)
    end
  end)
end)
