// Forged Authentication-Results: see authserv.h.
#include "core/plugin/authserv.h"

#include "core/base/strings.h"
#include "core/filter/element.h"

namespace millrace::plugin {
namespace {

constexpr std::string_view kName = "Authentication-Results";

class Guard final : public filter::Filter {
 public:
  explicit Guard(std::string id) : id_(std::move(id)) { options.default_action = *filter::default_action_verdict("tempfail"); }
  const std::string& name() const override { return name_; }
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts&) override { return std::make_unique<Session>(id_); }

 private:
  class Session final : public filter::FilterSession {
   public:
    explicit Session(const std::string& id) : id_(id) {}
    filter::Verdict at(filter::Stage, filter::Context&) override { return {}; }
    filter::Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
      if (context.session.is_local) return {};
      bool ours = false;   // above our own Received stands what our filters said before the message came
      for (const mime::Header& header : message.headers) ours = ours || header.own_received;
      std::size_t nth = 1;
      for (const mime::Header& header : message.headers) {
        if (header.own_received) ours = false;
        if (!iequals(header.name(), kName)) continue;
        // A deletion moves later ones up.
        if (!ours && iequals(authserv_id_of(header.raw_value()), id_)) journal.add({filter::Edit::Kind::delete_header, nth, std::string(kName), {}});
        else ++nth;
      }
      return {};
    }
    void abort() override {}

   private:
    const std::string& id_;
  };
  const std::string name_ = "authserv-id", id_;
};

}  // namespace

std::string authserv_id_of(std::string_view value) {
  int depth = 0;
  while (!value.empty() && (depth > 0 || is_space(value[0]) || value[0] == '\r' || value[0] == '\n' || value[0] == '(')) {
    if (value[0] == '(') ++depth;
    if (value[0] == ')') --depth;
    if (value[0] == '\\' && value.size() > 1) value.remove_prefix(1);
    value.remove_prefix(1);
  }
  std::string out;
  if (value.starts_with('"')) {
    for (value.remove_prefix(1); !value.empty() && value[0] != '"'; value.remove_prefix(1)) {
      if (value[0] == '\\' && value.size() > 1) value.remove_prefix(1);
      out += value[0];
    }
    return out;
  }
  while (!value.empty() && !is_space(value[0]) && value[0] != ';' && value[0] != '(' && value[0] != '\r' && value[0] != '\n') {
    out += value[0];
    value.remove_prefix(1);
  }
  return out;
}

std::shared_ptr<filter::Filter> make_authserv_guard(std::string authserv_id) { return std::make_shared<Guard>(std::move(authserv_id)); }

}  // namespace millrace::plugin
