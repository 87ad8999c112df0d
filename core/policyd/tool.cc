// The command policyd: see tool.h.
#include "core/policyd/tool.h"

#include "core/plugin/options.h"
#include "core/policyd/server.h"
#include "core/service/program.h"

namespace millrace::policyd {
namespace {

constexpr auto kFilterTime = std::chrono::seconds(90);   // Postfix waits 100 s (smtpd_policy_service_timeout)

class Policies final : public service::Role {
 public:
  explicit Policies(const log::Logger& log) : server_(log) {}

  Result<void> build(service::Parts parts) override {
    Filters out;
    for (const std::string& text : parts.options.filters) {
      auto made = plugin::make_restriction(parts.options.plugins, text, parts.host, parts.keys, kFilterTime);
      if (!made) return tl::unexpected(made.error());
      out.push_back({text, std::move(*made)});
    }
    server_.use(std::move(out));
    return {};
  }
  void serve(std::unique_ptr<net::Stream> stream) override { server_.serve(std::move(stream)); }
  void drain() override { server_.drain(); }
  std::size_t connections() const override { return server_.connections(); }

 private:
  Server server_;
};

}  // namespace

int policyd_main(int argc, char** argv, const std::string& config_directory) {
  service::ProgramTraits traits;
  traits.name = "policyd";
  traits.config_file = traits.standard_input = true;
  traits.make = [](const log::Logger& log) { return std::make_unique<Policies>(log); };
  return service::run_program(traits, argc, argv, config_directory);
}

}  // namespace millrace::policyd
