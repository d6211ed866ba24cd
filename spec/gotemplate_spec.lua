local gotemplate = require("fulcio.gotemplate")

describe("gotemplate", function()
  it("reads texts, fields and index", function()
    assert.same({
      { op = "text", value = "a" },
      { op = "field", name = "x", at = 5 },
      { op = "text", value = "b" },
      { op = "index", name = "c/d" },
    }, gotemplate.parse('a{{ .x }}b{{index . "c/d"}}'))
    assert.same({ { op = "text", value = "plain" } },
                gotemplate.parse("plain"))
    assert.same({}, gotemplate.parse(""))
  end)

  it("reads texts in both quotes, and their escapes", function()
    assert.same({ { op = "text", value = 'a"\\\n\t' },
                  { op = "text", value = "`" },
                  { op = "text", value = 'b\\"' } },
                gotemplate.parse('{{"a\\"\\\\\\n\\t"}}`{{`b\\"`}}'))
  end)

  it("reads if, else if, else and calls", function()
    local text =
      '{{ if eq .a "x" }}1{{ else if not (and .b .c) }}{{else}}2{{end}}'
    local function field(name)
      return { op = "field", name = name, at = text:find("." .. name, 1, true) }
    end
    assert.same({ { op = "if",
      test = { op = "eq", arguments = { field("a"),
                                        { op = "text", value = "x" } } },
      yes = { { op = "text", value = "1" } },
      no = { { op = "if",
        test = { op = "not", arguments = { { op = "and", arguments = {
          field("b"), field("c") } } } },
        yes = {}, no = { { op = "text", value = "2" } } } },
    } }, gotemplate.parse(text))
  end)

  it("trims space where it is told to, and skips comments", function()
    assert.same({ { op = "text", value = "a" },
                  { op = "field", name = "x", at = 8 },
                  { op = "text", value = "b" }, { op = "text", value = "c" } },
                gotemplate.parse("a  {{- .x -}}  b{{- /* {{ }} */ -}} \nc"))
  end)

  it("refuses what cannot become data, by name", function()
    for name, text in pairs({
      printf = '{{ printf "%s" .a }}', len = "{{ len .a }}",
      slice = "{{ slice .a 0 1 }}", urlquery = "{{ urlquery .a }}",
      html = "{{ html .a }}", js = "{{ js .a }}", call = "{{ call .a }}",
      range = "{{ range .a }}{{ end }}", with = "{{ with .a }}{{ end }}",
      define = '{{ define "x" }}{{ end }}', lt = "{{ if lt .a .b }}{{ end }}",
      template = '{{ template "x" }}', block = '{{ block "x" . }}{{ end }}',
      ["$x"] = "{{ $x }}", ["|"] = "{{ .a | urlquery }}",
      ["1"] = "{{ eq .a 1 }}", ["true"] = "{{ eq .a true }}",
      ["nil"] = "{{ eq .a nil }}", ["'c'"] = "{{ eq .a 'c' }}",
      ["a field of a field"] = "{{ .a.b }}", ["a bare ."] = "{{ . }}",
      ["an escape in a text"] = '{{ "\\x41" }}',
      ["index, unless of . by a text,"] = "{{ index .a 1 }}",
      ["eq of anything but texts"] = "{{ eq (not .a) .b }}",
      ["break"] = "{{ break }}",
    }) do
      local list, message = gotemplate.parse(text)
      assert.is_nil(list)
      local found = message:match("^template: :1: (.*) cannot become data$")
      if name == "index, unless of . by a text," then
        found = found and (found == "1" or found == name) and name
      end
      assert.equal(name, found, message)
    end
  end)

  it("refuses what Go's parser refuses, in its words", function()
    for text, wanted in pairs({
      ["{{ .a "] = "template: :1: unclosed action",
      ["\n{{"] = "template: :2: unclosed action",
      ["{{ lower .a }}"] = 'template: :1: function "lower" not defined',
      ["{{}}"] = "template: :1: missing value for command",
      ["{{ end }}"] = "template: :1: unexpected {{end}}",
      ["{{ else }}"] = "template: :1: unexpected {{else}}",
      ["{{ if .a }}"] = "template: :1: unexpected EOF",
      ['{{ "a }}'] = "template: :1: unterminated quoted string",
      ["{{ `a }}"] = "template: :1: unterminated raw quoted string",
      ["{{ (.a }}"] = "template: :1: unclosed left paren",
      ["{{ .a ) }}"] = "template: :1: unexpected right paren",
      ["{{ .a .b }}"] =
        "template: :1: can't give argument to non-function",
      ["{{ eq .a }}"] = "template: :1: wrong number of args for eq",
      ["{{ not .a .b }}"] = "template: :1: wrong number of args for not",
      ["{{ if .a }}x{{ else .b }}y{{ end }}"] =
        "template: :1: unexpected word in else",
    }) do
      local list, message = gotemplate.parse(text)
      assert.is_nil(list, text)
      assert.equal(wanted, message)
    end
  end)

  it("has an end to what it reads", function()
    for text, wanted in pairs({
      ["{{ " .. ("("):rep(100000)] = "nested more than 100 deep",
      [("{{ if .a }}"):rep(101)] = "nested more than 100 deep",
      ["{{ if .a }}" .. ("{{ else if .b }}"):rep(100) .. "{{ end }}"] =
        "nested more than 100 deep",
      [("{{ .a }}"):rep(501)] = "more than 1000 words",
    }) do
      local list, message = gotemplate.parse(text)
      assert.is_nil(list)
      assert.equal("template: :1: " .. wanted, message)
    end
    assert(gotemplate.parse(("{{ .a }}"):rep(500)))
    assert(gotemplate.parse(("{{ if .a }}"):rep(100)
      .. ("{{ end }}"):rep(100)))
    local deep = "{{ " .. ("("):rep(100) .. ".a" .. (")"):rep(100) .. " }}"
    assert(gotemplate.parse(deep .. deep))
  end)

  it("trims long blanks without looking at each twice", function()
    local blank = (" "):rep(200000)
    assert.same({ { op = "text", value = "x" .. blank .. "y" },
                  { op = "field", name = "a", at = 400007 } },
      gotemplate.parse("x" .. blank .. "y" .. blank .. "{{- .a }}"))
  end)

  it("bears any bytes", function()
    for _, text in ipairs({ "{{\0}}", "{{ .\255 }}", "{{-", "{{- ", "{{/*",
                            "{{ ( ( ( ", "}}", "{{ }", "{{ - }}" }) do
      local list, message = gotemplate.parse(text)
      assert.is_true(list ~= nil or type(message) == "string")
    end
  end)
end)
