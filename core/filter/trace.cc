// The decision trace store: see trace.h.
#include "core/filter/trace.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "core/base/strings.h"

namespace millrace::filter {

namespace {

constexpr std::size_t kPendingLimit = 1 << 20;             // memory for lines not yet written
constexpr auto kGather = std::chrono::milliseconds(50);    // the writer takes what came in this long

void put_text(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string clean;
  if (!is_valid_utf8(text)) text = clean = printable(text);
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void put(std::string& out, std::string_view key, std::string_view value) {
  out += out.back() == '{' ? "\"" : ",\"";
  out.append(key).append("\":");
  put_text(out, value);
}

void put_some(std::string& out, std::string_view key, std::string_view value) {
  if (!value.empty()) put(out, key, value);
}

void put_number(std::string& out, std::string_view key, std::int64_t value) {
  out += out.back() == '{' ? "\"" : ",\"";
  out.append(key).append("\":").append(std::to_string(value));
}

// The text after `"key":` of a line of ours up to the next quote or comma; quotes inside values are
// escaped, so the pattern cannot be forged from within one.
std::string_view field(std::string_view line, std::string_view pattern) {
  const std::size_t at = line.find(pattern);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = line.substr(at + pattern.size());
  return rest.substr(0, rest.find_first_of("\",}"));
}

constexpr std::string_view kSession = "\"session\":\"", kQueueId = "\"queue_id\":\"", kTransaction = "\"transaction\":",
                           kWhen = "\"when\":";

}  // namespace

std::string format_trace(std::string_view session, const SessionFacts& facts, const TraceLine& line) {
  std::string out;
  out.reserve(400);
  out += '{';
  put_number(out, "when", line.when);
  put(out, "session", session);
  put_number(out, "transaction", line.transaction);
  put_some(out, "queue_id", line.queue_id);
  put(out, "client", facts.client_name + "[" + facts.client_address + "]");
  put_some(out, "helo", facts.helo_name);
  put(out, "stage", line.stage);
  put(out, "filter", line.filter);
  put(out, "action", line.action);
  if (line.code != 0) put_number(out, "code", line.code);
  put_some(out, "text", line.text);
  put_some(out, "reason", line.reason_id);
  put_some(out, "failure", line.failure);
  put_some(out, "sender", line.sender);
  put_some(out, "recipient", line.recipient);
  if (line.score != 0) out += fmt::format(",\"score\":{:.3f}", line.score);
  put_number(out, "latency_us", line.latency_us);
  if (line.shadow) out += ",\"shadow\":true";
  if (!line.facts.empty()) {
    out += ",\"facts\":{";
    for (const auto& [name, value] : line.facts) put(out, name, value);
    out += '}';
  }
  if (!line.edits.empty()) {
    out += ",\"edits\":[";
    for (const std::string& edit : line.edits) {
      if (out.back() != '[') out += ',';
      put_text(out, edit);
    }
    out += ']';
  }
  out += '}';
  return out;
}

struct TraceStore::Impl {
  TraceOptions options;
  std::string path, old_path;
  int fd = -1;
  std::uint64_t written = 0;        // size of the file

  std::mutex mutex;
  std::condition_variable wake, done;
  std::string pending;
  std::uint64_t recorded = 0, stored = 0, dropped = 0;   // lines; stored includes dropped ones
  bool stopping = false, hurry = false;
  std::thread writer;

  Result<void> open_file() {
    fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) < 0) return fail(Errc::io, "open " + path + ": " + std::strerror(errno));
    written = static_cast<std::uint64_t>(status.st_size);
    return {};
  }

  // An older generation of this process may still append to the same file: whoever finds it full
  // renames it, and who finds another file under the name goes on with that.
  void rotate() {
    struct stat ours {}, named {};
    const bool same = ::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino;
    if (same) ::rename(path.c_str(), old_path.c_str());
    ::close(fd);
    fd = -1;
    (void)open_file();   // a failure is met again, and counted, at the next write
  }

  void store(std::string_view text) {
    if (fd < 0 && !open_file()) return;
    while (!text.empty()) {
      const ssize_t count = ::write(fd, text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;   // a full disk loses the trace, never mail
      text.remove_prefix(static_cast<std::size_t>(count));
      written += static_cast<std::uint64_t>(count);
    }
    if (written >= options.limit_bytes / 2) rotate();
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stopping || !pending.empty(); });
      if (!stopping && !hurry) wake.wait_for(lock, kGather, [&] { return stopping || hurry; });
      std::string batch;
      batch.swap(pending);
      const std::uint64_t upto = recorded, lost = std::exchange(dropped, 0);
      lock.unlock();
      if (lost > 0) batch += fmt::format("{{\"when\":{},\"dropped\":{}}}\n", wall_now(), lost);
      // In pieces, so that a burst cannot overshoot the limit by more than one of them.
      const std::size_t piece = std::max<std::size_t>(options.limit_bytes / 8, 4096);
      for (std::string_view rest = batch; !rest.empty();) {
        std::size_t cut = rest.size() <= piece ? rest.size() : rest.rfind('\n', piece) + 1;
        if (cut == 0) cut = rest.find('\n') + 1;   // a line longer than a piece
        store(rest.substr(0, cut));
        rest.remove_prefix(cut);
      }
      lock.lock();
      stored = upto;
      done.notify_all();
      if (stopping && pending.empty()) return;
    }
  }
};

TraceStore::TraceStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->writer = std::thread([state = impl_.get()] { state->run(); });
}

Result<std::unique_ptr<TraceStore>> TraceStore::open(const TraceOptions& options) {
  if (::mkdir(options.directory.c_str(), 0700) < 0 && errno != EEXIST) {
    return fail(Errc::io, "make " + options.directory + ": " + std::strerror(errno));
  }
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->path = options.directory + "/" + options.name + ".jsonl";
  impl->old_path = options.directory + "/" + options.name + ".old.jsonl";
  if (auto opened = impl->open_file(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<TraceStore>(new TraceStore(std::move(impl)));
}

TraceStore::~TraceStore() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_one();
  impl_->writer.join();
  if (impl_->fd >= 0) ::close(impl_->fd);
}

void TraceStore::record(const SessionFacts& facts, TraceLine line) {
  const std::string session = std::to_string(::getpid()) + "." + std::to_string(facts.session_number);
  const std::string text = format_trace(session, facts, line);
  const std::lock_guard lock(impl_->mutex);
  ++impl_->recorded;
  if (impl_->pending.size() + text.size() > kPendingLimit) {
    ++impl_->dropped;
    return;
  }
  if (impl_->pending.empty()) impl_->wake.notify_one();
  impl_->pending += text;
  impl_->pending += '\n';
}

void TraceStore::flush() {
  std::unique_lock lock(impl_->mutex);
  const std::uint64_t goal = impl_->recorded;
  impl_->hurry = true;
  impl_->wake.notify_one();
  impl_->done.wait(lock, [&] { return impl_->stored >= goal; });
  impl_->hurry = false;
}

namespace {

// Calls `use` with each whole line of the store.
template <typename Use>
Result<void> each_line(const std::string& directory, Use use) {
  std::vector<std::string> files;
  DIR* const listing = ::opendir(directory.c_str());
  if (listing == nullptr) return fail(Errc::io, "open " + directory + ": " + std::strerror(errno));
  while (const dirent* entry = ::readdir(listing)) {
    if (std::string_view(entry->d_name).ends_with(".jsonl")) files.push_back(directory + "/" + entry->d_name);
  }
  ::closedir(listing);
  for (const std::string& file : files) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      if (!line.empty() && line.back() == '}') use(line);   // a line being written is left out
    }
  }
  return {};
}

void sort_by_time(std::vector<std::string>& lines) {
  std::stable_sort(lines.begin(), lines.end(), [](const std::string& a, const std::string& b) {
    return parse_number(field(a, kWhen)).value_or(0) < parse_number(field(b, kWhen)).value_or(0);
  });
}

}  // namespace

Result<std::vector<std::string>> find_trace(const std::string& directory, const std::function<bool(std::string_view)>& wanted) {
  std::set<std::string> sessions;
  if (auto read = each_line(directory, [&](const std::string& line) {
        if (wanted(line)) sessions.emplace(field(line, kSession));
      });
      !read) {
    return tl::unexpected(read.error());
  }
  std::vector<std::string> found;
  if (auto read = each_line(directory, [&](const std::string& line) {
        if (sessions.contains(std::string(field(line, kSession)))) found.push_back(line);
      });
      !read) {
    return tl::unexpected(read.error());
  }
  sort_by_time(found);
  return found;
}

Result<std::vector<std::string>> find_trace(const std::string& directory, std::string_view key) {
  std::set<std::pair<std::string, std::string>> wanted;   // session, transaction
  auto read = each_line(directory, [&](const std::string& line) {
    if (field(line, kQueueId) != key) return;
    const std::string session(field(line, kSession));
    wanted.emplace(session, field(line, kTransaction));
    wanted.emplace(session, "0");
  });
  if (!read) return tl::unexpected(read.error());
  std::vector<std::string> found;
  read = each_line(directory, [&](const std::string& line) {
    const std::string_view session = field(line, kSession), id = field(line, kQueueId);
    const bool about = session == key || (id.empty() ? wanted.contains({std::string(session), std::string(field(
                                                                                                 line, kTransaction))})
                                                     : id == key);
    if (about) found.push_back(line);
  });
  if (!read) return tl::unexpected(read.error());
  sort_by_time(found);
  return found;
}

}  // namespace millrace::filter
