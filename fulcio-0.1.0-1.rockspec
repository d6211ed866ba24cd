rockspec_format = "3.0"
package = "fulcio"
version = "0.1.0-1"
source = {
  url = "git+https://example.com/fulcio.git",
  tag = "v0.1.0",
}
description = {
  summary = "A certificate authority for code signing, scripted in Lua",
  detailed = [[
    Short-lived code signing certificates for OIDC identities, logged before
    they leave. Speaks the API of sigstore's Fulcio, so its clients work
    unmodified. A C core with decisions in Lua; policies are Lua tables.]],
  license = "Apache-2.0",
}
dependencies = {
  "lua >= 5.4, < 5.5",
  "lua-cjson >= 2.1",
}
-- The C libraries are found by pkg-config: see DEPS in the Makefile.
build = {
  type = "make",
  build_target = "all",
  install_target = "install",
  install_variables = { PREFIX = "$(PREFIX)" },
}
