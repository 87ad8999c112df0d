// How postconf(1) lays out values and master.cf entries.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/config/config.h"

namespace millrace::tools {

using Expand = std::function<std::string(const std::string&)>;   // of -o values; empty: as written

// Words with single blanks between them and a newline; folded at 80 columns with four blanks.
std::string print_words(std::string_view text, bool fold);

// One master.cf entry in columns, arguments after it (each -o on a line of its own when folded).
std::string print_service(const config::Service& service, bool fold, const Expand& expand);

// Field name and text: service type private unprivileged chroot wakeup process_limit command.
std::vector<std::pair<std::string, std::string>> service_fields(const config::Service& service, const Expand& expand);

}  // namespace millrace::tools
