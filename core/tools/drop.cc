#include "core/tools/drop.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/base/strings.h"

namespace millrace::tools {
namespace {

constexpr std::size_t kBuffered = 64 * 1024;
constexpr std::size_t kMaxAnswer = 4096;

std::string find_postdrop() {
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self - 1);
  if (length > 0) {
    const std::string_view path(self, static_cast<std::size_t>(length));
    const std::string beside = std::string(path.substr(0, path.rfind('/'))) + "/postdrop";
    if (::access(beside.c_str(), X_OK) == 0 && !beside.starts_with("/usr/sbin/")) return beside;
    const std::string installed = std::string(path.substr(0, path.rfind('/'))) + "/../libexec/millrace/postdrop";
    if (::access(installed.c_str(), X_OK) == 0) return installed;
  }
  return MILLRACE_LIBEXECDIR "/postdrop";
}

}  // namespace

Result<Drop> Drop::start(const std::string& config_directory) {
  const std::string program = find_postdrop();
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0) return fail(Errc::io, std::string("pipe: ") + std::strerror(errno));
  if (::pipe2(from, O_CLOEXEC) != 0) {
    ::close(to[0]);
    ::close(to[1]);
    return fail(Errc::io, std::string("pipe: ") + std::strerror(errno));
  }
  ::signal(SIGPIPE, SIG_IGN);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    // What goes wrong is said by us, with our name in front.
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) ::dup2(null, 2);
    const bool usual = config_directory == "/etc/postfix";
    usual ? ::execl(program.c_str(), "postdrop", "-r", nullptr)
          : ::execl(program.c_str(), "postdrop", "-r", "-c", config_directory.c_str(), nullptr);
    const std::string why = "69 cannot run " + program + ": " + std::strerror(errno) + "\n";
    (void)!::write(1, why.data(), why.size());
    ::_exit(69);
  }
  ::close(to[0]);
  ::close(from[1]);
  if (pid > 0) return Drop(pid, to[1], from[0]);
  ::close(to[1]);
  ::close(from[0]);
  return fail(Errc::io, std::string("fork: ") + std::strerror(errno));
}

Drop::Drop(Drop&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_(std::exchange(other.to_, -1)),
      from_(std::exchange(other.from_, -1)),
      buffer_(std::move(other.buffer_)),
      broken_(other.broken_) {}

Drop::~Drop() {
  if (to_ >= 0) ::close(to_);   // an end without end record: postdrop removes the file
  if (from_ >= 0) ::close(from_);
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

void Drop::put(char type, std::string_view text) {
  submit::encode_record(type, text, buffer_);
  if (buffer_.size() >= kBuffered) send();
}

void Drop::send() {
  for (std::size_t at = 0; at < buffer_.size() && !broken_;) {
    const ssize_t n = ::write(to_, buffer_.data() + at, buffer_.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) broken_ = true;
    else at += static_cast<std::size_t>(n);
  }
  buffer_.clear();
}

void Drop::envelope(const submit::Submission& submission) {
  for (const std::string& attribute : submit::envelope_attributes(submission)) put('A', attribute);
  if (!submission.full_name.empty()) put('F', submission.full_name);
  put('S', submission.sender);
  if (!submission.verp.empty()) put('V', submission.verp);
  for (const mime::Recipient& one : submission.recipients) recipient(one);
}

void Drop::recipient(const mime::Recipient& recipient) {
  for (const std::string& attribute : submit::recipient_attributes(recipient)) put('A', attribute);
  put('R', recipient.address);
}

void Drop::begin_content() { put('M', ""); }
void Drop::line(std::string_view text, bool ends) { put(ends ? 'N' : 'L', text); }
void Drop::end_content() { put('X', ""); }

Result<std::string> Drop::finish() {
  put('E', "");
  send();
  ::close(std::exchange(to_, -1));
  std::string answer;
  char piece[512];
  for (ssize_t n; (n = ::read(from_, piece, sizeof piece)) != 0 && answer.size() < kMaxAnswer;) {
    if (n > 0) answer.append(piece, static_cast<std::size_t>(n));
    else if (errno != EINTR) break;
  }
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  std::string_view said = trim(answer);
  const std::string_view code = take_word(said, " ");
  if (code == "0" && WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::string(trim(said));
  return fail(Errc::io, said.empty() ? "postdrop ended without an answer" : std::string(trim(said)));
}

void DropContent::add(std::string_view canonical) {
  while (!canonical.empty()) {
    const std::size_t end = canonical.find('\n');
    line_.append(canonical.substr(0, end));
    canonical.remove_prefix(end == canonical.npos ? canonical.size() : end + 1);
    if (end == canonical.npos) {
      if (line_.size() > line_limit_ && line_.back() != '\r') {
        drop_.line(line_, false);
        line_.clear();
      }
      return;
    }
    if (line_.ends_with('\r')) line_.pop_back();
    for (std::string_view rest = line_;; rest.remove_prefix(line_limit_)) {
      const bool last = rest.size() <= line_limit_;
      drop_.line(rest.substr(0, line_limit_), last);
      if (last) break;
    }
    line_.clear();
  }
}

void DropContent::finish() {
  if (!line_.empty()) drop_.line(line_, true);
  line_.clear();
}

}  // namespace millrace::tools
