#include "core/base/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "core/base/strings.h"

namespace millrace::log {
namespace {

constexpr std::size_t kBufferBytes = 8 << 20;  // beyond it lines are dropped, and counted
constexpr std::size_t kLineBytes = 16384;
constexpr std::chrono::milliseconds kGather{5};   // for lines that can be written together

// The buffer of one process and the thread that empties it.  Never destroyed: lines may be logged by
// static destructors and by threads that outlive main.
class Writer {
 public:
  explicit Writer(Options options) : options_(std::move(options)) {
    if (options_.threaded) std::thread([this] { run(); }).detach();
  }

  void add(int priority, std::string line) {
    const TimePoint now = options_.hold.count() > 0 ? SteadyClock::now() : TimePoint{};
    const std::lock_guard lock(mutex_);
    if (!options_.threaded) {
      write_batch({{priority, std::move(line), now}});
      return;
    }
    if (bytes_ + line.size() > kBufferBytes) {
      ++dropped_;
      return;
    }
    bytes_ += line.size();
    lines_.push_back({priority, std::move(line), now});
    if (lines_.size() == 1) wake_.notify_one();
  }

  void flush() {
    std::unique_lock lock(mutex_);
    if (!options_.threaded) return;
    hurry_ = true;
    wake_.notify_one();
    empty_.wait_for(lock, std::chrono::seconds(2), [this] { return lines_.empty() && !writing_; });
    hurry_ = false;
  }

  const Options& options() const { return options_; }

 private:
  struct Line {
    int priority;
    std::string text;   // ends in a newline
    TimePoint since;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !lines_.empty(); });
      if (!hurry_) wake_.wait_for(lock, kGather, [this] { return hurry_; });
      if (!hurry_ && options_.hold.count() > 0) {
        wake_.wait_until(lock, lines_.front().since + options_.hold, [this] { return hurry_; });
      }
      std::deque<Line> batch;
      if (hurry_ || options_.hold.count() == 0) {
        batch.swap(lines_);
      } else {
        const TimePoint before = SteadyClock::now() - options_.hold;
        for (; !lines_.empty() && lines_.front().since <= before; lines_.pop_front()) batch.push_back(std::move(lines_.front()));
      }
      bytes_ = 0;
      for (const Line& line : lines_) bytes_ += line.text.size();
      const unsigned long dropped = std::exchange(dropped_, 0);
      writing_ = true;
      lock.unlock();
      if (dropped != 0) {
        batch.push_back({LOG_WARNING, fmt::format("warning: log: {} lines dropped\n", dropped), {}});
      }
      write_batch(batch);
      lock.lock();
      writing_ = false;
      empty_.notify_all();
    }
  }

  void write_batch(const std::deque<Line>& batch) {
    options_.facility == Facility::syslog ? write_syslog(batch) : write_file(batch);
  }

  void write_file(const std::deque<Line>& batch) const {
    std::string all;
    for (const Line& line : batch) all += line.text;
    for (std::size_t done = 0; done < all.size();) {
      const ssize_t n = ::write(options_.fd, all.data() + done, all.size() - done);
      if (n < 0 && errno == EAGAIN) {
        pollfd poller{options_.fd, POLLOUT, 0};
        ::poll(&poller, 1, 1000);
      } else if (n < 0 && errno != EINTR) {
        return;  // nowhere to say it
      } else if (n > 0) {
        done += static_cast<std::size_t>(n);
      }
    }
  }

  void write_syslog(const std::deque<Line>& batch) {
    for (const Line& line : batch) {
      if (socket_ < 0) connect_syslog();
      const std::string packet = fmt::format("<{}>{}", LOG_MAIL | line.priority, line.text);
      if (socket_ >= 0 && ::send(socket_, packet.data(), packet.size() - 1, MSG_NOSIGNAL) < 0) {
        ::close(socket_);
        socket_ = -1;
      }
    }
  }

  void connect_syslog() {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "/dev/log");
    if (socket_ >= 0 && ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      ::close(socket_);
      socket_ = -1;
    }
  }

  const Options options_;
  std::mutex mutex_;
  std::condition_variable wake_, empty_;
  std::deque<Line> lines_;
  std::size_t bytes_ = 0;
  unsigned long dropped_ = 0;
  bool writing_ = false, hurry_ = false;
  int socket_ = -1;
};

Writer* writer = nullptr;

void submit(int priority, const std::string& tag, unsigned number, std::string_view level,
            std::string_view text) {
  if (number == 0) number = static_cast<unsigned>(getpid());
  std::string body = printable(text.substr(0, kLineBytes));
  const WallMicros now = wall_now();
  const bool named = writer != nullptr && writer->options().facility == Facility::file;
  std::string line = fmt::format("{} {}{}{}[{}]: {}{}\n", syslog_date(now),
                                 named ? writer->options().host : std::string(), named ? " " : "", tag,
                                 number, level, body);
  if (writer != nullptr) {
    writer->add(priority, std::move(line));
  } else {
    (void)!::write(2, line.data(), line.size());
  }
}

}  // namespace

void open(const Options& options) { writer = new Writer(options); }

void flush() {
  if (writer != nullptr) writer->flush();
}

Logger::Logger(std::string tag, unsigned number)
    : tag_(std::make_shared<const std::string>(std::move(tag))), number_(number) {}

void Logger::info(std::string_view text) const { submit(LOG_INFO, *tag_, number_, "", text); }
void Logger::warning(std::string_view text) const { submit(LOG_WARNING, *tag_, number_, "warning: ", text); }
void Logger::error(std::string_view text) const { submit(LOG_ERR, *tag_, number_, "error: ", text); }
void Logger::fatal(std::string_view text) const { submit(LOG_CRIT, *tag_, number_, "fatal: ", text); }

Logger Logger::with_number(unsigned number) const {
  Logger copy = *this;
  copy.number_ = number;
  return copy;
}

}  // namespace millrace::log
