// The log: lines of Postfix's shape, "Nov 21 11:50:52 host postfix/smtpd[123]: text".
//
// A Logger is a cheap value that names who speaks (program name and number).  pflogsumm pairs connect
// and disconnect lines by that number, so each SMTP session has one of its own instead of the process
// id.  Lines go to a bounded buffer and are written by a thread: a stuck log never blocks an event
// loop; what does not fit is dropped and counted in a later line.  Control bytes become '?' here, so no
// caller can let a peer forge a line.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace millrace::log {

enum class Facility { file, syslog, standard_error };

struct Options {
  Facility facility = Facility::standard_error;
  int fd = 2;              // for file and standard_error: where to write; not closed
  std::string host;        // host name in each line of a file
  bool threaded = true;    // false: each line is written at once by its caller (the master, tools)
  // How long a line waits before it is written.  The queue process lets the others' lines go first: readers of the
  // log (pflogsumm) expect a message's "client=" or "uid=" before its "queue active".
  std::chrono::milliseconds hold{0};
};

// Starts the writer of this process.  To be called again in each forked child (threads do not survive a
// fork); before the first call, lines go to standard error at once.  Not thread-safe against writers.
void open(const Options& options);

// Writes out all that was logged before the call [any thread].
void flush();

class Logger {
 public:
  // `tag` is "postfix/smtpd"; number 0 stands for this process's id.
  explicit Logger(std::string tag = "postfix/millrace", unsigned number = 0);

  void info(std::string_view text) const;     // [any thread]
  void warning(std::string_view text) const;  // "warning: text"
  void error(std::string_view text) const;    // "error: text"
  void fatal(std::string_view text) const;    // "fatal: text"; does not end the process

  Logger with_number(unsigned number) const;
  const std::string& tag() const { return *tag_; }

 private:
  std::shared_ptr<const std::string> tag_;
  unsigned number_;
};

}  // namespace millrace::log
