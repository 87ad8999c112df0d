// A message in the hands of the chain: headers parsed once into a list, the body as bytes that spill
// to an unnamed file past a threshold.
//
// Content is canonical: every line ends in CRLF, there is no other CR or LF, dots are not stuffed, the
// empty line between headers and body is not stored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::mime {

// One header field.  `text` is the whole field without its final CRLF, folding kept as CRLF + space:
// "Subject: a\r\n b".  A line in the header section that is no field never gets here: it begins the body.
class Header {
 public:
  Header() = default;
  // `text` must hold a colon; `name_length` is the length of what stands before it, without
  // trailing white space.
  Header(std::string text, std::size_t name_length) : text_(std::move(text)), name_length_(name_length) {}
  // Builds "name: value"; LF in value becomes CRLF.  Owner as below.
  static Header make(std::string_view name, std::string_view value);

  std::string_view name() const { return std::string_view(text_).substr(0, name_length_); }
  // All after the colon, including leading white space and folding.
  std::string_view raw_value() const;
  // Without one leading space; folded lines joined with LF only: what a milter gets.
  std::string milter_value(bool keep_leading_space) const;
  // Without leading and trailing white space, folding as single spaces.
  std::string unfolded() const;
  const std::string& text() const { return text_; }

  bool generated = false;     // a field that was missing: not for header_checks
  bool own_received = false;  // made by us for this transaction; filters do not see it

 private:
  std::string text_;
  std::size_t name_length_ = 0;
};

// The body.  In memory up to `memory_limit` bytes, then in an O_TMPFILE of the directory given, so that
// memory per message is bounded.  Not thread-safe; reads and writes of the file go to the page cache.
class Body {
 public:
  static constexpr std::size_t kDefaultMemoryLimit = 64 * 1024;

  // `spool_directory` is a descriptor of a directory on the queue's file system (not owned); -1 keeps
  // everything in memory (tests, tools).
  explicit Body(int spool_directory = -1, std::size_t memory_limit = kDefaultMemoryLimit);
  ~Body();
  Body(Body&&) noexcept;
  Body& operator=(Body&&) noexcept;
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  Result<void> append(std::string_view bytes);  // Errc::no_space or io
  std::uint64_t size() const { return size_; }
  bool spilled() const { return fd_ >= 0; }
  int fd() const { return fd_; }                       // -1 unless spilled
  const std::string& memory() const { return memory_; }  // whole body unless spilled

  // Reads up to out.size() bytes at `offset`; 0 at the end.
  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const;
  // Calls `each` with consecutive pieces (at most 64 KiB each) until it returns false.
  Result<void> for_each(const std::function<bool(std::string_view)>& each) const;

 private:
  Result<void> spill();
  int spool_directory_;
  std::size_t memory_limit_;
  std::string memory_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

struct Message {
  std::vector<Header> headers;
  Body body;

  // Octets of headers, the empty line and the body.
  std::uint64_t size() const;
  // The n-th (from 1) header of that name that is not own_received; nullptr when there is none.
  Header* find(std::string_view name, std::size_t nth = 1);
  const Header* find(std::string_view name, std::size_t nth = 1) const;
  // Header section with CRLFs, and the empty line that ends it.
  std::string header_text() const;
};

}  // namespace millrace::mime
