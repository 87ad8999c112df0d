// Postfix's record format: a maildrop file is a sequence of records, and so is a file of Postfix's queue.
// One record: a type letter, the length of its text in base 128 (lowest group first, high bit: more follows),
// the text.
//
//   S sender   R recipient   F full name   A name=value   T time   M content follows
//   v VERP delimiters
//   N a line   L part of a line that goes on   X end of content   E end of the file
//
// Pure, bounded, and without any library of others: the setgid postdrop is built from it.  It judges form and
// order of the records, not what they say.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::submit {

struct Record {
  char type = 0;
  std::string_view text;   // views the input
};

enum class RecordStatus { ok, need_more, bad };

struct DecodedRecord {
  RecordStatus status = RecordStatus::need_more;
  std::size_t consumed = 0;
  Record record;
};

// Longest text of a record that is taken; long lines come in several.
constexpr std::size_t kMaxRecord = 128 * 1024;

// The first record of `bytes`.  bad: longer than `limit`, or a length that is none.
DecodedRecord decode_record(std::string_view bytes, std::size_t limit = kMaxRecord);
// Appends a record; `text` fits kMaxRecord.
void encode_record(char type, std::string_view text, std::string& out);

// Which record may follow which in a maildrop file.  The sender comes once, before all recipients and the
// content.
class RecordOrder {
 public:
  // False: a record of this type must not stand here.
  bool accept(char type);
  bool done() const { return part_ == Part::done; }   // the end record was there
  bool in_content() const { return part_ == Part::content; }

 private:
  enum class Part { envelope, content, extracted, done } part_ = Part::envelope;
  bool sender_ = false;
};

}  // namespace millrace::submit
