// The command milter: see tool.h.
#include "core/milterd/tool.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "core/milterd/door.h"
#include "core/plugin/options.h"
#include "core/service/program.h"

namespace millrace::milterd {
namespace {

class Filters final : public service::Role {
 public:
  explicit Filters(log::Logger log) : log_(std::move(log)) {}

  Result<void> build(service::Parts parts) override {
    auto chain = std::make_shared<filter::Chain>();
    for (const std::string& text : parts.options.filters) {
      auto made = plugin::make_filter(parts.options.plugins, text, parts.host);
      if (!made) return tl::unexpected(made.error());
      chain->add(std::move(*made));
    }
    if (!door_) {
      const auto given = parts.options.more.find("--spool");
      const std::string spool = given == parts.options.more.end() ? "/var/tmp" : given->second;
      DoorOptions options;
      options.host_name = parts.params.myhostname;
      options.mail_name = parts.params.mail_name;
      options.spool_directory = ::open(spool.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
      if (options.spool_directory < 0) return fail(Errc::config, "--spool " + spool + ": " + std::strerror(errno));
      door_.emplace(std::move(options), log_);
    }
    door_->use(std::move(chain));
    return {};
  }
  void serve(std::unique_ptr<net::Stream> stream) override { door_->serve(std::move(stream)); }
  void drain() override { door_->drain(); }
  std::size_t connections() const override { return door_->connections(); }

 private:
  log::Logger log_;
  std::optional<Door> door_;   // after the first build
};

}  // namespace

int milter_main(int argc, char** argv, const std::string& config_directory) {
  service::ProgramTraits traits;
  traits.name = "milter";
  traits.more = {"--spool"};
  traits.usage = " [--spool DIR]";
  traits.make = [](const log::Logger& log) { return std::make_unique<Filters>(log); };
  return service::run_program(traits, argc, argv, config_directory);
}

}  // namespace millrace::milterd
