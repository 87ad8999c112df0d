#include "core/tools/queue_tools.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <iostream>

#include "core/base/strings.h"
#include "core/config/config.h"
#include "core/tools/import_tool.h"
#include "core/tools/queue_access.h"
#include "core/tools/queue_print.h"
#include "core/tools/salvage.h"

namespace millrace::tools {
namespace {

constexpr int kUnavailable = 69;   // sysexits.h: what postqueue ends with
constexpr int kNotPermitted = 77;

// One run of a tool: who speaks, and how it ends.
struct Speaker {
  std::string name;
  int status_on_fatal;

  int fatal(const std::string& text) const {
    std::fflush(stdout);
    fmt::print(stderr, "{}: fatal: {}\n", name, text);
    return status_on_fatal;
  }
  void warning(const std::string& text) const { fmt::print(stderr, "{}: warning: {}\n", name, text); }
  void info(const std::string& text) const { fmt::print(stderr, "{}: {}\n", name, text); }
};

// `millrace queue` speaks as postqueue does: the texts are part of what scripts read.
Speaker speaker_of(int argc, char** argv, const char* postfix_name, int status) {
  const std::string self = argc > 0 ? argv[0] : "";
  return {self.empty() || self == "millrace" ? postfix_name : self, status};
}

struct Setup {
  std::string queue_directory;
  bool long_ids = false;
};

// Errors in the configuration that have nothing to do with the queue do not keep anybody from it.
Result<Setup> read_setup(const std::string& config_directory) {
  config::Findings findings;
  const auto config = config::Config::load(config_directory, findings);
  for (const auto& line : findings.lines) {
    if (line.is_error && (line.parameter == "queue_directory" || line.where.line == 0)) {
      return fail(Errc::config, line.to_text());
    }
  }
  return Setup{config->params().queue_directory, config->params().enable_long_queue_ids};
}

// getopt(3) of our own arguments; calls `each` with option and value.  false after its own error message.
template <typename Each>
bool each_option(int argc, char** argv, const Speaker& speaker, const char* options, const Each& each) {
  std::string name = speaker.name;
  std::vector<char*> arguments(argv, argv + argc);
  if (arguments.empty()) arguments.push_back(nullptr);
  arguments[0] = name.data();   // getopt's messages begin with it
  arguments.push_back(nullptr);
  optind = 0;   // glibc: starts over
  for (int option; (option = ::getopt(argc, arguments.data(), options)) != -1;) {
    if (option == '?' || !each(static_cast<char>(option), optarg != nullptr ? optarg : "")) return false;
  }
  // getopt moves operands to the end of its own list.
  std::copy(arguments.begin() + 1, arguments.begin() + argc, argv + 1);
  return true;
}

bool is_site(std::string_view site) {
  if (site.size() > 2 && site.front() == '[' && site.back() == ']') {
    for (const char c : site.substr(1, site.size() - 2)) {
      if (!is_alnum(c) && c != '.' && c != ':') return false;
    }
    return true;
  }
  if (site.empty() || site.size() > 255 || site.front() == '.' || site.front() == '-') return false;
  bool letters = false;
  for (const char c : site) {
    if (!is_alnum(c) && c != '.' && c != '-' && c != '_' && static_cast<unsigned char>(c) < 128) return false;
    letters = letters || !(is_digit(c) || c == '.');
  }
  return letters;   // an address without brackets is none
}

int print_queue(QueueAccess& access, const Speaker& speaker, bool json, bool long_ids) {
  std::uint64_t bytes = 0;
  std::size_t messages = 0;
  const Result<void> listed = access.list([&](const queue::Listing& listing) {
    if (json) {
      std::fputs(json_entry(listing).c_str(), stdout);
      return;
    }
    if (listing.queue == queue::QueueName::corrupt) return;   // as showq(8): not mail that will be delivered
    if (messages == 0) std::fputs(mailq_heading(long_ids).c_str(), stdout);
    std::fputs(mailq_entry(listing, long_ids).c_str(), stdout);
    bytes += listing.size;
    ++messages;
  });
  if (!listed && listed.error().code == Errc::refused) return Speaker{speaker.name, kNotPermitted}.fatal(listed.error().context);
  if (!listed) return speaker.fatal("queue report: " + listed.error().context);
  if (!json) std::fputs(mailq_summary(bytes, messages).c_str(), stdout);
  if (std::fflush(stdout) != 0) return speaker.fatal("output write error");
  return 0;
}

// The changes of one postsuper run.
struct SuperRequest {
  struct Step {
    queue::Change change;
    char letter;
    const char* total;    // "Deleted"
    bool requested = false, all = false;
    std::vector<std::string> ids;
    std::size_t count = 0;
  };
  // In the order in which they are done, and in which totals are printed.
  std::array<Step, 6> steps = {{{queue::Change::remove, 'd', "Deleted", false, false, {}, 0},
                                {queue::Change::expire, 'e', "Force-expired", false, false, {}, 0},
                                {queue::Change::expire_and_release, 'f', "Force-expired", false, false, {}, 0},
                                {queue::Change::hold, 'h', "Placed on hold", false, false, {}, 0},
                                {queue::Change::release, 'H', "Released from hold", false, false, {}, 0},
                                {queue::Change::requeue, 'r', "Requeued", false, false, {}, 0}}};
  std::vector<queue::QueueName> queues;
  std::size_t also_released = 0;
};

void read_ids(SuperRequest::Step& step) {
  for (std::string line; std::getline(std::cin, line);) step.ids.emplace_back(trim(line));
}

std::string counted(std::size_t count) { return fmt::format("{} message{}", count, count == 1 ? "" : "s"); }

Result<void> run_step(QueueAccess& access, const Speaker& speaker, SuperRequest& request, SuperRequest::Step& step) {
  const std::string_view letter(&step.letter, 1);
  std::vector<std::string> ids = step.ids;
  if (step.all) ids = {""};
  for (const std::string& id : ids) {
    if (!step.all && !queue::is_queue_id(id)) {
      speaker.warning("invalid mail queue id: " + printable(id));
      continue;
    }
    const Result<queue::Changed> changed = access.change(step.change, letter, id, request.queues);
    if (!changed) return tl::unexpected(changed.error());
    step.count += changed->changed;
    request.also_released += changed->released;
    if (step.all) continue;
    if (changed->changed > 0) speaker.info(id + ": " + queue::change_done(step.change));
    if (changed->released > 0) speaker.info(id + ": " + queue::change_done(queue::Change::release));
  }
  return {};
}

// postsuper -s, -S, -p, or no operation at all.
int check_structure(const Speaker& speaker, const std::string& queue_directory) {
  const Result<Salvage> done = salvage_store(queue_directory);
  if (!done && done.error().code == Errc::refused) {
    speaker.info("the queue was not checked: " + done.error().context);
    return 0;   // there is nothing to mend while it is in use
  }
  if (!done) return speaker.fatal(done.error().context);
  if (done->kept_as.empty()) {
    speaker.info("all messages are readable: " + counted(done->good));
    return 0;
  }
  for (const std::string& what : done->damaged) speaker.warning("lost: " + printable(what));
  speaker.info("Saved: " + counted(done->good) + "; the damaged store is kept as " + done->kept_as);
  return 1;
}

}  // namespace

int queue_main(int argc, char** argv, const std::string& config_directory) {
  if (argc > 1 && std::string_view(argv[1]) == "import") return import_main(argc - 1, argv + 1, config_directory);
  const Speaker speaker = speaker_of(argc, argv, "postqueue", kUnavailable);
  constexpr const char* kUsage =
      "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";
  std::string directory = config_directory, value;
  char mode = 0;
  bool twice = false;
  const bool parsed = each_option(argc, argv, speaker, "c:fi:jps:v", [&](char option, const char* text) {
    if (option == 'c') directory = text;
    if (option == 'c' || option == 'v') return true;
    twice = twice || mode != 0;
    mode = option;
    value = text;
    return true;
  });
  if (!parsed || mode == 0 || twice || optind < argc) return speaker.fatal(kUsage);
  if (mode == 'i' && !queue::is_queue_id(value)) {
    return speaker.fatal(fmt::format("Cannot flush queue ID - invalid name: \"{}\"", printable(value)));
  }
  if (mode == 's' && !is_site(value)) {
    return speaker.fatal(fmt::format("Cannot flush mail queue - invalid destination: \"{}\"", printable(value)));
  }
  const Result<Setup> setup = read_setup(directory);
  if (!setup) return speaker.fatal(setup.error().context);
  Result<std::unique_ptr<QueueAccess>> access = QueueAccess::open(setup->queue_directory);
  const bool listing = mode == 'p' || mode == 'j';
  if (!access) {
    if (access.error().code != Errc::refused) return speaker.fatal(access.error().context);
    return speaker.fatal(listing ? "Queue report unavailable - mail system is down"
                                 : "Cannot flush mail queue - mail system is down");
  }
  if (!(*access)->daemon_runs()) {
    if (!listing) return speaker.fatal("Cannot flush mail queue - mail system is down");
    speaker.warning("Mail system is down -- accessing queue directly");
  }
  if (listing) return print_queue(**access, speaker, mode == 'j', setup->long_ids);
  const Result<void> flushed = mode == 'f'   ? (*access)->flush_all()
                               : mode == 'i' ? (*access)->flush(value)
                                             : (*access)->flush_site(lower(value));
  if (!flushed && flushed.error().code == Errc::config) return speaker.fatal(flushed.error().context);   // no site of ours
  if (!flushed && flushed.error().code == Errc::refused) {
    return Speaker{speaker.name, kNotPermitted}.fatal(flushed.error().context);
  }
  return flushed ? 0 : speaker.fatal("Cannot flush mail queue - " + flushed.error().context);
}

int super_main(int argc, char** argv, const std::string& config_directory) {
  const Speaker speaker = speaker_of(argc, argv, "postsuper", 1);
  constexpr const char* kUsage =
      "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or "
      "un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] "
      "[-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]";
  std::string directory = config_directory;
  SuperRequest request;
  std::string maintenance;
  const bool parsed = each_option(argc, argv, speaker, "c:d:e:f:h:H:pr:sSv", [&](char option, const std::string& text) {
    if (option == 'c') directory = text;
    if (option == 'p' || option == 's' || option == 'S') maintenance = fmt::format("-{}", option);
    for (SuperRequest::Step& step : request.steps) {
      if (step.letter != option) continue;
      step.requested = true;
      if (text == "ALL") {
        step.all = true;
      } else if (text == "-") {
        read_ids(step);
      } else {
        step.ids.push_back(text);
      }
    }
    return true;
  });
  if (!parsed) return speaker.fatal(kUsage);
  for (int i = optind; i < argc; ++i) {
    const std::optional<queue::QueueName> name = queue::parse_queue_name(argv[i]);
    if (!name) return speaker.fatal("invalid directory name: " + printable(argv[i]));
    request.queues.push_back(*name);
  }
  bool requested = false;
  for (const SuperRequest::Step& step : request.steps) requested = requested || step.requested;
  const Result<Setup> setup = read_setup(directory);
  if (!setup) return speaker.fatal(setup.error().context);
  if (!requested || !maintenance.empty()) {
    if (const int failed = check_structure(speaker, setup->queue_directory)) return failed;
  }
  if (!requested) return 0;
  const Result<std::unique_ptr<QueueAccess>> access = QueueAccess::open(setup->queue_directory);
  if (!access) return speaker.fatal(access.error().context);
  for (SuperRequest::Step& step : request.steps) {
    if (!step.requested) continue;
    if (Result<void> done = run_step(**access, speaker, request, step); !done) return speaker.fatal(done.error().context);
    speaker.info(fmt::format("{}: {}", step.total, counted(step.count)));
    if (step.change == queue::Change::expire_and_release) {
      speaker.info("Released from hold: " + counted(request.also_released));
    }
  }
  return 0;
}

int cat_main(int argc, char** argv, const std::string& config_directory) {
  const Speaker speaker = speaker_of(argc, argv, "postcat", 1);
  constexpr const char* kUsage =
      "usage: postcat [-b (body text)] [-c config_dir] [-e (envelope records)] [-h (header text)] [-q (access queue)] "
      "[-v] queue_id(s)...";
  std::string directory = config_directory, refused;
  bool body = false, envelope = false, headers = false, from_queue = false;
  const bool parsed = each_option(argc, argv, speaker, "bc:dehoqrs:v", [&](char option, const char* text) {
    switch (option) {
      case 'b': body = true; break;
      case 'c': directory = text; break;
      case 'e': envelope = true; break;
      case 'h': headers = true; break;
      case 'q': from_queue = true; break;
      case 'v': break;
      default: refused = fmt::format("option -{}: messages are not files here, there are no records to show", option);
    }
    return true;
  });
  if (!parsed) return speaker.fatal(kUsage);
  if (!refused.empty()) return speaker.fatal(refused);
  if (optind >= argc) return speaker.fatal(kUsage);
  if (!body && !envelope && !headers) body = envelope = headers = true;
  const Result<Setup> setup = read_setup(directory);
  if (!setup) return speaker.fatal(setup.error().context);
  for (int i = optind; i < argc; ++i) {
    const std::string id = argv[i];
    const std::string missing = fmt::format("open {}{}: No such file or directory", from_queue ? "queue file " : "",
                                            printable(id));
    if (!queue::is_queue_id(id)) return speaker.fatal(missing);
    // One connection each: root gives up its rights with the first store opened directly, and keeps its owner's.
    const Result<std::unique_ptr<QueueAccess>> access = QueueAccess::open(setup->queue_directory);
    if (!access) return speaker.fatal(access.error().context);
    queue::Entry shown;
    CatContent filter(headers, body);
    std::string text;
    const auto print = [&] {
      std::fwrite(text.data(), 1, text.size(), stdout);
      text.clear();
    };
    const Result<void> done = (*access)->cat(
        id,
        [&](const queue::Entry& entry) {
          shown = entry;
          if (envelope) text = cat_envelope(entry) + cat_contents_marker(entry);
          print();
        },
        [&](std::string_view piece) {
          filter.add(piece, text);
          print();
        });
    if (!done && done.error().code == Errc::not_found) return speaker.fatal(missing);
    if (!done) return speaker.fatal(done.error().context);
    filter.finish(text);
    if (envelope) text += cat_end(shown);
    print();
  }
  return std::fflush(stdout) == 0 ? 0 : speaker.fatal("output write error");
}

}  // namespace millrace::tools
