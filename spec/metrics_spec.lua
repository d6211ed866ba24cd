local metrics = require("fulcio.metrics")
local refusal = require("fulcio.refusal")

local function has(line)
  local text = "\n" .. metrics.text()
  assert.truthy(text:find("\n" .. line .. "\n", 1, true),
                line .. " is not in" .. text)
end

describe("metrics", function()
  before_each(function() metrics.use() end)

  it("shows that no certificate was handed out yet", function()
    has("# TYPE fulcio_new_certs counter")
    has("fulcio_new_certs 0")
  end)

  it("counts certificates, in all and by issuer", function()
    metrics.issued("https://a.example.com")
    metrics.issued("https://a.example.com")
    has("fulcio_new_certs 2")
    has('fulcio_certificates_total{issuer="https://a.example.com"} 2')
  end)

  it("puts latencies into Fulcio's buckets", function()
    metrics.served("POST", 201, 0.007)
    metrics.served("POST", 201, 0.3)
    metrics.served("POST", 201, 11)
    has('fulcio_api_latency_bucket{code="201",method="post",le="0.005"} 0')
    has('fulcio_api_latency_bucket{code="201",method="post",le="0.01"} 1')
    has('fulcio_api_latency_bucket{code="201",method="post",le="0.5"} 2')
    has('fulcio_api_latency_bucket{code="201",method="post",le="10"} 2')
    has('fulcio_api_latency_bucket{code="201",method="post",le="+Inf"} 3')
    has('fulcio_api_latency_sum{code="201",method="post"} 11.307')
    has('fulcio_api_latency_count{code="201",method="post"} 3')
    has('http_requests_total{code="201",method="post"} 3')
  end)

  it("counts a value on a bucket's bound in that bucket", function()
    metrics.series("fulcio_stage_seconds", "proof")(0.001)
    has('fulcio_stage_seconds_bucket{stage="proof",le="0.0005"} 0')
    has('fulcio_stage_seconds_bucket{stage="proof",le="0.001"} 1')
  end)

  it("counts calls under gRPC's names", function()
    local path = "/dev.sigstore.fulcio.v2.CA/CreateSigningCertificate"
    metrics.called(path, 0)
    metrics.called(path, 3)
    metrics.called("/x/y", 99)
    metrics.called("/x/z", 0, "bidi_stream")
    has('grpc_server_started_total{grpc_type="bidi_stream",'
        .. 'grpc_service="x",grpc_method="z"} 1')
    local rpc = '{grpc_type="unary",'
      .. 'grpc_service="dev.sigstore.fulcio.v2.CA",'
      .. 'grpc_method="CreateSigningCertificate"'
    has("grpc_server_started_total" .. rpc .. "} 2")
    has("grpc_server_msg_received_total" .. rpc .. "} 2")
    has("grpc_server_msg_sent_total" .. rpc .. "} 1")
    has("grpc_server_handled_total" .. rpc .. ',grpc_code="OK"} 1')
    has("grpc_server_handled_total" .. rpc
        .. ',grpc_code="InvalidArgument"} 1')
    has('grpc_server_handled_total{grpc_type="unary",grpc_service="x",'
        .. 'grpc_method="y",grpc_code="Unknown"} 1')
  end)

  it("knows the methods of HTTP, and no others", function()
    metrics.served("BREW", 400, 0.1)
    has('http_requests_total{code="400",method="other"} 1')
  end)

  it("names an issuer in a refusal only when a policy does", function()
    local iss = "https://a.example.com"
    metrics.refused(refusal("token_expired", { log = { issuer = iss } }))
    metrics.refused(refusal("unknown_issuer", { log = { issuer = iss } }))
    metrics.refused(refusal("token_expired", {
      log = { issuer = iss, wildcard = true } }))
    metrics.refused(refusal("token_malformed"))
    local later = refusal("must_not_met")
    later.issuer = iss
    metrics.refused(later)
    has('fulcio_refusals_total{reason="MUST_NOT_MET",issuer="' .. iss
        .. '"} 1')
    has('fulcio_refusals_total{reason="TOKEN_EXPIRED",issuer="' .. iss
        .. '"} 1')
    has('fulcio_refusals_total{reason="UNKNOWN_ISSUER",issuer=""} 1')
    has('fulcio_refusals_total{reason="TOKEN_EXPIRED",issuer="wildcard"} 1')
    has('fulcio_refusals_total{reason="TOKEN_MALFORMED",issuer=""} 1')
  end)

  it("counts no more than a hundred series of one name apart", function()
    for i = 1, 500 do
      metrics.count("fulcio_ct_submissions_total", "result" .. i)
    end
    local text = metrics.text()
    local _, lines = text:gsub("\nfulcio_ct_submissions_total{", "")
    assert.is_true(lines <= 101)
    has('fulcio_ct_submissions_total{result="other"} 400')
    metrics.count("fulcio_ct_submissions_total", "result7")
    has('fulcio_ct_submissions_total{result="result7"} 2')
  end)

  it("counts certificates of a hundred issuers apart", function()
    for i = 1, 150 do metrics.issued("https://" .. i .. ".example") end
    metrics.issued("https://7.example")
    has("fulcio_new_certs 151")
    has('fulcio_certificates_total{issuer="https://7.example"} 2')
    has('fulcio_certificates_total{issuer="other"} 50')
  end)

  it("has functions for one series, wherever it is counted", function()
    local add = metrics.series("fulcio_ctlog_entries_total")
    local observe = metrics.series("fulcio_stage_seconds", "proof")
    add()
    add(5)
    observe(0.0005)
    has("fulcio_ctlog_entries_total 6")
    has('fulcio_stage_seconds_count{stage="proof"} 1')
    metrics.use()
    add(2)
    observe(0.3)
    has("fulcio_ctlog_entries_total 2")
    has('fulcio_stage_seconds_sum{stage="proof"} 0.3')
  end)

  it("escapes and cuts what a label says", function()
    metrics.count("fulcio_ca_signatures_total", 'a"b\\c\n\31' .. ("x"):rep(200))
    has('fulcio_ca_signatures_total{result="a\\"b\\\\c??'
        .. ("x"):rep(73) .. '"} 1')
  end)

  it("asks gauges when it is asked", function()
    local value = 1
    metrics.gauge("fulcio_ca_up", function() return value end)
    metrics.gauge("fulcio_ct_up", function() return nil end)
    metrics.gauge("fulcio_build_info", function() return 1 end, "0.1.0")
    has("fulcio_ca_up 1")
    value = 0
    has("fulcio_ca_up 0")
    has('fulcio_build_info{version="0.1.0"} 1')
    assert.is_nil(metrics.text():find("fulcio_ct_up", 1, true))
  end)

  it("counts where it is told to", function()
    local counted = { ["somebody\31else\31"] = 3 }
    metrics.use({
      count = function(key, by)
        counted[key] = (counted[key] or 0) + by
      end,
      counts = function() return counted end,
    })
    metrics.count("fulcio_issuer_fetches_total", "ok")
    has('fulcio_issuer_fetches_total{result="ok"} 1')
    assert.is_nil(metrics.text():find("somebody", 1, true))
  end)

  it("throws on a metric that does not exist", function()
    assert.has_error(function() metrics.count("fulcio_luck") end,
                     'no metric "fulcio_luck"')
  end)
end)
