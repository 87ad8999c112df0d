#include "core/daemon/tables.h"

namespace millrace::daemon {

map::TableOptions table_options(const config::Config& config, const Owner& owner, const log::Logger& log) {
  map::TableOptions out;
  out.config_directory = config.directory();
  out.warn = [log](const std::string& text) { log.warning(text); };
  out.queue_directory = config.params().queue_directory;
  out.proxy_read_maps = config.params().proxy_read_maps;
  out.proxy_owner = map::TableOptions::Proxy{owner.uid, owner.gid};
  return out;
}

}  // namespace millrace::daemon
