// postdrop: puts a message of a local user into the maildrop directory (postdrop(1)).  Installed setgid to
// setgid_group, so it is small, uses no library but C's and C++'s, and trusts nothing that its caller controls:
// environment, descriptors, limits, the records on its standard input.
//
//   postdrop -r [-c DIR] < records
//
// Answers one line on standard output: "0 NAME" when the message is safe on disk, else "STATUS TEXT"; the exit
// status is the same.  What is incomplete leaves no file behind, whatever signal ends us (but SIGKILL: pickup
// sweeps such files).
#include <fcntl.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/postdrop/settings.h"
#include "core/submit/record.h"

namespace {

using millrace::postdrop::Allowed;
using millrace::postdrop::Settings;
using millrace::submit::RecordStatus;

constexpr const char* kDefaultDirectory = "/etc/postfix";
constexpr std::size_t kMaxMainCf = 1 << 20;
constexpr unsigned long long kEnvelopeBytes = 64ULL << 20;   // of all records but the content's
constexpr mode_t kReady = 0744;   // the owner's x bit says that the file is complete, as Postfix's pickup has it

char file_name[64];   // "maildrop/NAME" while the file is incomplete; for the signal handler

void remove_file() {
  if (file_name[0] != '\0') ::unlink(file_name);
}

extern "C" void on_signal(int) {
  remove_file();
  ::_exit(EX_TEMPFAIL);
}

[[noreturn]] __attribute__((format(printf, 2, 3))) void end(int status, const char* format, ...) {
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) ::signal(number, SIG_IGN);
  remove_file();
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char* c = text; *c != '\0'; ++c) {
    if (static_cast<unsigned char>(*c) < ' ' || *c == 0x7F) *c = '?';
  }
  ::syslog(LOG_CRIT, "fatal: %s", text);
  std::fprintf(stdout, "%d %s\n", status, text);
  std::fflush(stdout);
  std::fprintf(stderr, "postdrop: fatal: %s\n", text);
  std::exit(status);
}

// Whoever starts us may have closed what we take for granted.
void open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF && ::open("/dev/null", O_RDWR) != fd) std::abort();
  }
}

std::string read_main_cf(const std::string& directory) {
  const std::string path = directory + "/main.cf";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) end(EX_CONFIG, "open %s: %s", path.c_str(), std::strerror(errno));
  std::string text(kMaxMainCf, '\0');
  std::size_t size = 0;
  for (ssize_t n; (n = ::read(fd, text.data() + size, text.size() - size)) > 0;) size += static_cast<std::size_t>(n);
  ::close(fd);
  if (size == text.size()) end(EX_CONFIG, "%s: larger than %zu bytes", path.c_str(), kMaxMainCf);
  text.resize(size);
  return text;
}

std::string setting(const Settings& settings, const char* name, const char* fallback) {
  const auto value = settings.value(name, fallback);
  if (!value) end(EX_CONFIG, "main.cf: %s: postdrop understands only $name in values", name);
  return *value;
}

// A directory of the caller's choice would let a setgid program work for whatever main.cf is there.
void check_directory(const std::string& directory) {
  const bool privileged = ::geteuid() != ::getuid() || ::getegid() != ::getgid();
  if (!privileged || ::getuid() == 0 || directory == kDefaultDirectory) return;
  const Settings settings(read_main_cf(kDefaultDirectory), kDefaultDirectory);
  for (const char* name : {"alternate_config_directories", "multi_instance_directories"}) {
    if (millrace::postdrop::is_word_of(setting(settings, name, ""), directory)) return;
  }
  end(EX_NOPERM, "%s: configuration directory is not authorized by alternate_config_directories in %s/main.cf",
      directory.c_str(), kDefaultDirectory);
}

void check_user(const Settings& settings) {
  const uid_t uid = ::getuid();
  const passwd* entry = ::getpwuid(uid);
  const std::string name = entry != nullptr ? entry->pw_name : "unknown";
  if (millrace::postdrop::is_listed(setting(settings, "authorized_submit_users", "static:anyone"), name) == Allowed::no) {
    end(EX_NOPERM, "User %s(%ld) is not allowed to submit mail", name.c_str(), static_cast<long>(uid));
  }
}

// A name that nobody else uses: the time and our process.
int create_file() {
  for (int attempt = 0; attempt < 100; ++attempt) {
    timeval now{};
    ::gettimeofday(&now, nullptr);
    char name[sizeof file_name];
    std::snprintf(name, sizeof name, "maildrop/%lX%05lX%lX", static_cast<unsigned long>(now.tv_sec),
                  static_cast<unsigned long>(now.tv_usec), static_cast<unsigned long>(::getpid()));
    const int fd = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) {
      std::memcpy(file_name, name, sizeof name);
      return fd;
    }
    if (errno != EEXIST) end(EX_UNAVAILABLE, "create file %s: %s", name, std::strerror(errno));
  }
  end(EX_TEMPFAIL, "create file in maildrop: no free name");
}

void write_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) end(errno == EFBIG ? EX_UNAVAILABLE : EX_TEMPFAIL, "write %s: %s", file_name, std::strerror(errno));
    data += n;
    size -= static_cast<std::size_t>(n);
  }
}

// Copies records to the end record; what is no record, or out of order, ends us.
void copy_records(int fd, unsigned long long size_limit) {
  millrace::submit::RecordOrder order;
  std::string buffer;
  unsigned long long content = 0, envelope = 0;
  while (!order.done()) {
    char piece[65536];
    const ssize_t n = ::read(0, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) end(EX_TEMPFAIL, "read standard input: %s", std::strerror(errno));
    if (n == 0) end(EX_DATAERR, "malformed input: incomplete");
    buffer.append(piece, static_cast<std::size_t>(n));
    std::size_t used = 0;
    while (!order.done()) {
      const auto decoded = millrace::submit::decode_record(std::string_view(buffer).substr(used));
      if (decoded.status == RecordStatus::need_more) break;
      if (decoded.status == RecordStatus::bad || !order.accept(decoded.record.type)) end(EX_DATAERR, "malformed input");
      (order.in_content() ? content : envelope) += decoded.consumed;
      if (size_limit != 0 && content > size_limit) end(EX_UNAVAILABLE, "message file too big");
      if (envelope > kEnvelopeBytes) end(EX_UNAVAILABLE, "too many recipients");
      used += decoded.consumed;
    }
    write_all(fd, buffer.data(), used);
    buffer.erase(0, used);
  }
}

// Tells pickup; when nobody listens it finds the file by itself.
void tell_pickup() {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "public/pickup");
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) (void)!::write(fd, "W", 1);
  ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  ::umask(077);
  const char* named = std::getenv("MAIL_CONFIG");
  std::string directory = named != nullptr && *named != '\0' ? named : kDefaultDirectory;
  opterr = 0;
  for (int option; (option = ::getopt(argc, argv, "c:rv")) != -1;) {
    if (option == 'c') directory = optarg;
    if (option == '?') end(EX_USAGE, "usage: postdrop [-c config_dir] [-rv]");
  }
  if (optind < argc) end(EX_USAGE, "usage: postdrop [-c config_dir] [-rv]");
  ::clearenv();
  ::openlog("postfix/postdrop", LOG_PID, LOG_MAIL);
  for (const int number : {SIGPIPE, SIGXFSZ}) ::signal(number, SIG_IGN);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) {
    struct sigaction action{};
    action.sa_handler = on_signal;
    ::sigaction(number, &action, nullptr);
  }
  check_directory(directory);
  const Settings settings(read_main_cf(directory), directory);
  check_user(settings);
  const std::string queue = setting(settings, "queue_directory", "/var/spool/postfix");
  if (::chdir(queue.c_str()) != 0) end(EX_CONFIG, "chdir %s: %s", queue.c_str(), std::strerror(errno));
  const unsigned long long limit = std::strtoull(setting(settings, "message_size_limit", "10240000").c_str(), nullptr, 10);
  const int fd = create_file();
  copy_records(fd, limit);
  // The content first, the mark of completeness after it: a crash in between leaves a file that is not ready.
  if (::fsync(fd) != 0 || ::fchmod(fd, kReady) != 0 || ::fsync(fd) != 0 || ::close(fd) != 0) {
    end(EX_TEMPFAIL, "write %s: %s", file_name, std::strerror(errno));
  }
  const std::string name = std::strchr(file_name, '/') + 1;
  file_name[0] = '\0';
  std::fprintf(stdout, "0 %s\n", name.c_str());
  std::fflush(stdout);
  tell_pickup();
  return 0;
}
