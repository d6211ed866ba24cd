local gotext = require("fulcio.gotext")
local gowritten = require("fulcio.gowritten")

describe("gowritten", function()
  -- { template, defaults, in our language, what must be there besides }
  local written = {
    { "{{ .a }}/{{ .b }}", {}, "{a}/{b}" },
    { "{x{{ .a }}", {}, "{{x{a}" },
    { "a", {}, "{a}" },
    { "a", { a = "" }, "{a?}" },
    { "{{ .a }}", { a = "" }, "{a?}" },
    { '{{ index . "a/b" }}', {}, "{a/b?}" },
    { 'x{{ index . "a" }}', {}, "x{a}" },
    { 'r/{{ if eq .k "b" }}h/{{ else }}t/{{ end }}{{ .r }}', {},
      { __word = "pick", count = 3, "k", { b = "r/h/{r}" }, "r/t/{r}" }, "k" },
    { '{{ if eq (index . "k") "b" }}h{{ end }}', {},
      { __word = "pick", count = 3, "k", { b = "h" }, false } },
  }
  for _, row in ipairs(written) do
    it("writes " .. row[1] .. " in our language", function()
      local text, why, needs = gowritten.text(
        gotext.form(row[1], "BuildTrigger"), row[2])
      assert.same(row[3], text)
      assert.is_nil(why)
      assert.equal(row[4], needs)
    end)
  end

  it("writes what cannot be left out without ?", function()
    for template, text in pairs({
      ["e"] = "{e}", ["{{ .e }}"] = "{e}", ['{{ index . "a" }}'] = "{a}",
    }) do
      assert.equal(text, gowritten.text(
        gotext.form(template, "SubjectAlternativeName"), { e = "" }, true))
    end
    assert.same({ __word = "pick", count = 2, "a", { b = "x" } },
      (gowritten.text(gotext.form('{{ if eq .a "b" }}x{{ end }}', "X"), {},
                      true)))
  end)

  it("says what has no words in our language", function()
    for template, why in pairs({
      ["x{{ .e }}"] = '"e" is empty by default',
      ["{{ or .a .b }}"] = "or stands in it",
      ["{{ if .a }}x{{ end }}"] = "if can only ask eq of a claim and a text",
      ["{{ if eq .a .b }}x{{ end }}"] =
        "if can only ask eq of a claim and a text",
      ['{{ if eq .a "b" }}{{ if eq .c "d" }}x{{ end }}{{ end }}'] =
        "if stands in it",
      ['{{ if eq .a "b" }}x{{ end }}{{ if eq .c "d" }}x{{ end }}'] =
        "there are two ifs in it",
      ["a}"] = 'the claim "a}" has a name that cannot be written',
    }) do
      local text, found = gowritten.text(gotext.form(template, "X"),
                                         { e = "" })
      assert.is_nil(text)
      assert.equal(why, found)
    end
    local text, found = gowritten.text(
      gotext.form(" ", "SubjectAlternativeName"), {})
    assert.is_nil(text)
    assert.equal("it is empty", found)
  end)
end)
