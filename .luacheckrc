std = "lua54"
max_line_length = 80
unused_args = true
self = false
exclude_files = { "build", "**/node_modules" }

-- The interface is written, not run.
files["engine/engine.lua"] = { ignore = { "2.." } }

files["spec"] = { std = "+busted" }

-- What a policy may say, and nothing else.
files["policies"] = {
  std = {
    read_globals = {
      "anyone", "days", "glob", "has", "hours", "integer", "match",
      "minutes", "pick", "present", "seconds", "spiffe", "url", "within",
      "tostring", "tonumber", "type", "ipairs", "pairs", "next", "select",
      string = { fields = { "lower", "upper", "sub", "len", "byte",
        "format" } },
    },
  },
}
