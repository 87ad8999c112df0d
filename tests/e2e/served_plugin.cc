// A plugin for the end-to-end tests: adds a header that tells its edition, counts in the shared state, offers a table type
// and an observer, and does the bad thing its setting names.
#include <millrace/plugin.hpp>
#include <stdexcept>

#ifndef EDITION
#define EDITION "first"
#endif

namespace sdk = millrace::sdk;

struct Reversed : sdk::TableBase {
  std::optional<std::string> find(std::string_view key) override {
    if (key == "refused@dest.example") return "REJECT said the table";
    if (key == "broken@dest.example") throw std::runtime_error("cannot say");
    return {};
  }
};

const char* const kAfter[] = {"sample", nullptr};

class Served : public sdk::Filter {
 public:
  static sdk::Description describe() {
    sdk::Description d{"served", EDITION, "end-to-end tests"};
    d.stages = MR_STAGE_RCPT | MR_STAGE_MESSAGE;
    d.edits = MR_EDIT_HEADERS;
    d.after = kAfter;
    d.config_schema = R"({"bad": {"type": "string", "doc": "what to do wrong"}, "start": {"type": "string", "doc": "no: refuse to"}})";
    return d;
  }
  bool configure(const sdk::Settings& settings) override {
    if (const auto bad = settings.find("bad"); bad != settings.end()) bad_ = bad->second;
    return settings.count("start") == 0 || (host().error("told not to start"), false);
  }
  Verdict rcpt(Call& call) override {
    if (bad_ == "throw") throw std::runtime_error("thrown");
    if (bad_ == "long") {   // a text that claims to be longer than anything
      mr_verdict v{};
      v.struct_size = sizeof v;
      v.action = MR_REJECT;
      v.text = {"x", ~std::uint64_t{0}};
      host().raw().complete(host().ctx(), call.raw().call, &v);
      return {};
    }
    if (bad_ == "twice") {
      mr_verdict v{};
      v.struct_size = sizeof v;
      host().raw().complete(host().ctx(), call.raw().call, &v);
      return Verdict::reject("the second answer");
    }
    if (bad_ == "late") call.sleep_until(host().now_ns() + 3'000'000'000);
    if (bad_ == "undeclared") call.change_sender("someone@else.example");
    return {};
  }
  Verdict message(Call& call) override {
    if (bad_ == "undeclared") call.append_body("another body\n");
    host().count("messages");
    host().set("level", 0.5);
    std::int64_t sum = 0;
    if (const mr_kv_1* kv = host().state()) kv->add(host().ctx(), sdk::text_of("messages"), 1, 0, &sum);
    call.add_header("X-Served", EDITION);
    call.add_header("X-Count", std::to_string(sum));
    call.auth_result("served", "pass", "", {});
    return {};
  }
  bool observes_deliveries() const override { return true; }
  void delivered(const sdk::Delivery& d) override {
    host().info("observed " + std::string(d.status == MR_DELIVERY_SENT ? "sent" : "other") + " to " + std::string(d.recipient) + " by " +
                std::string(d.relay) + " id " + std::string(d.queue_id) + " code " + std::string(d.status_code));
  }
  bool provides_tables() const override { return true; }
  std::unique_ptr<sdk::TableBase> open_table(std::string_view name) override {
    if (name == "nothing") return host().error("there is no such table"), nullptr;
    return std::make_unique<Reversed>();
  }

 private:
  std::string bad_;
};

MILLRACE_PLUGIN(Served)
