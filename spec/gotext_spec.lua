local engine = require("fulcio.engine")
local gotext = require("fulcio.gotext")

local function fill(template, claims, default)
  local node = gotext.node(assert(gotext.form(template, "BuildTrigger")))
  claims = claims or {}
  claims.iss = "https://i.example"
  return node.fill(node, { claims = claims, default = default or {},
                           set = {} })
end

-- { template, claims, defaults, what it says }
local rows = {
  { "{{ .a }}-{{ .b }}", { a = "1", b = 2 }, nil, "1-2" },
  { "{{ .a }}", { a = "" }, { a = "d" }, "" },
  { "{{ .a }}", {}, { a = "d" }, "d" },
  { 'x{{ index . "a" }}y', {}, nil, "xy" },
  { '{{ or .a .b "c" }}', { a = "", b = "" }, nil, "c" },
  { '{{ and .a "c" }}', { a = "x" }, nil, "c" },
  { "{{ and .a .b }}", { a = "" }, { b = "y" }, "" },
  { '{{ eq .a "x" "y" }}', { a = "y" }, nil, "true" },
  { '{{ ne .a "x" }}', { a = "x" }, nil, "false" },
  { "{{ not .a }}", { a = "" }, nil, "true" },
  { "{{ if .a }}yes{{ else }}no{{ end }}", { a = "x" }, nil, "yes" },
  { "{{ if .a }}yes{{ else }}no{{ end }}", { a = "" }, nil, "no" },
  { "{{ if .a }}yes{{ end }}", { a = "" }, nil, "" },
  { 'https://h/{{ .a }}', {}, { a = "" }, "https://h/" },
  { "a", { a = "x" }, nil, "x" },
  { "a", { a = true }, nil, "true" },
  { "a/b", { ["a/b"] = "x" }, nil, "x" },
  { "a", { a = "" }, { a = "d" }, "" },
  { " ", {}, nil, " " },
}

describe("gotext", function()
  for _, row in ipairs(rows) do
    it("fills " .. row[1] .. " as Fulcio does", function()
      assert.equal(row[4], fill(row[1], row[2], row[3]))
    end)
  end

  it("says where Go says it, what has no entry", function()
    for template, place in pairs({
      ["{{ .url }}/{{ .a }}"] = "1:14", ["x\n{{ .a }}"] = "2:3",
      ["{{ if eq .a \"b\" }}{{ end }}"] = "1:9",
      ["{{ or .a .b }}"] = "1:6",
    }) do
      local text, wrong = fill(template, { url = "u", b = "c" })
      assert.is_nil(text)
      assert.equal("claim_missing", wrong.code)
      assert.equal("a", wrong.claim)
      assert.equal(('template: :%s: executing "" at <.a>: map has no entry '
        .. 'for key "a"'):format(place), wrong.message)
    end
  end)

  it("refuses an absent claim inside a URL", function()
    for _, claims in ipairs({ {}, { a = "" } }) do
      local text, wrong = fill('https://h/{{ index . "a" }}/b', claims)
      assert.is_nil(text)
      assert.equal("a", wrong.claim)
      assert.is_nil(wrong.message)
    end
  end)

  it("makes so many bytes", function()
    local half = ("a"):rep(32768)
    assert.equal(65536, #fill("{{ .a }}{{ if .a }}{{ .a }}{{ end }}",
                              { a = half }))
    local text, wrong = fill("{{ .a }}{{ .b }}{{ .a }}", { a = half, b = "." })
    assert.is_nil(text)
    assert.same({ "claim_invalid", "a", "makes a text longer than 64 KiB" },
                { wrong.code, wrong.claim, wrong.why })
  end)

  it("refuses null, lists, objects and inexact numbers by name", function()
    for _, value in ipairs({ engine.claims.null, { "x" }, { x = 1 },
                             2 ^ 60 }) do
      for _, template in ipairs({ "a", "{{ .a }}", '{{ index . "a" }}',
                                  "{{ if .a }}x{{ end }}" }) do
        local text, wrong = fill(template, { a = value })
        assert.is_nil(text)
        assert.same({ "claim_invalid", "a" }, { wrong.code, wrong.claim })
      end
    end
  end)
end)
