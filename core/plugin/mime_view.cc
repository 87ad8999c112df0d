// Parts of a message: see mime_view.h.
#include "core/plugin/mime_view.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/checks/mime_walker.h"

namespace millrace::plugin {
namespace {

constexpr std::size_t kMaxParameters = 50, kMaxValue = 4000;

int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

// Blanks and comments.
void skip_space(std::string_view& text) {
  int depth = 0;
  while (!text.empty() && (depth > 0 || is_space(text[0]) || text[0] == '\n' || text[0] == '\r' || text[0] == '(')) {
    if (text[0] == '(') ++depth;
    if (text[0] == ')') --depth;
    if (text[0] == '\\' && text.size() > 1) text.remove_prefix(1);
    text.remove_prefix(1);
  }
}

// A quoted string without its quotes, or all up to one of `ends`, without blanks at its end.
std::string take_word(std::string_view& text, std::string_view ends) {
  skip_space(text);
  std::string out;
  if (text.starts_with('"')) {
    text.remove_prefix(1);
    while (!text.empty() && text[0] != '"') {
      if (text[0] == '\\' && text.size() > 1) text.remove_prefix(1);
      if (text[0] != '\n' && text[0] != '\r' && out.size() < kMaxValue) out += text[0];
      text.remove_prefix(1);
    }
    if (!text.empty()) text.remove_prefix(1);
    skip_space(text);
    return out;
  }
  while (!text.empty() && ends.find(text[0]) == ends.npos && text[0] != '(') {
    if (out.size() < kMaxValue) out += text[0];
    text.remove_prefix(1);
  }
  skip_space(text);
  return std::string(trim(out));
}

// Puts "name*0*", "name*1" and "name*" together (RFC 2231 sections 3 and 4).
void join_continuations(std::vector<std::pair<std::string, std::string>>& parameters) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& [name, value] : parameters) {
    const std::size_t star = name.find('*');
    if (star == name.npos) {
      out.emplace_back(std::move(name), std::move(value));
      continue;
    }
    const std::string base = name.substr(0, star);
    const bool first = name.substr(star) == "*" || name.substr(star).starts_with("*0");
    if (name.ends_with('*')) {
      std::string_view rest = value;
      // charset'language'text
      if (first && std::count(rest.begin(), rest.end(), '\'') >= 2) {
        rest.remove_prefix(rest.find('\'') + 1);
        rest.remove_prefix(rest.find('\'') + 1);
      }
      value = percent_decoded(rest);
    }
    const auto known = std::find_if(out.begin(), out.end(), [&](const auto& one) { return one.first == base; });
    if (known == out.end()) out.emplace_back(base, std::move(value));
    else if (first) known->second = std::move(value);   // the encoded form counts before the plain one
    else if (known->second.size() + value.size() <= kMaxValue) known->second += value;
  }
  parameters = std::move(out);
}

}  // namespace

std::string Parameterized::get(std::string_view name) const {
  for (const auto& [known, value] : parameters) {
    if (known == name) return value;
  }
  return {};
}

Parameterized parse_parameterized(std::string_view value) {
  Parameterized out;
  std::string word = take_word(value, ";");
  word.erase(std::remove_if(word.begin(), word.end(), [](char c) { return is_space(c) || c == '\n' || c == '\r'; }), word.end());
  out.word = lower(word);
  while (!value.empty() && out.parameters.size() < kMaxParameters) {
    if (value[0] != ';') {   // junk: to the next parameter
      value.remove_prefix(1);
      continue;
    }
    value.remove_prefix(1);
    const std::string name = lower(take_word(value, "=;"));
    if (!value.starts_with('=')) continue;
    value.remove_prefix(1);
    std::string text = take_word(value, ";");
    if (!name.empty()) out.parameters.emplace_back(name, std::move(text));
  }
  join_continuations(out.parameters);
  return out;
}

// --- decoding -----------------------------------------------------------------------------------

PartDecoder::PartDecoder(std::string_view encoding)
    : kind_(encoding == "base64" ? Kind::base64 : encoding == "quoted-printable" ? Kind::quoted_printable : Kind::identity) {}

void PartDecoder::add(std::string_view bytes, std::string& out) {
  if (kind_ == Kind::identity) {
    out += bytes;
    return;
  }
  if (kind_ == Kind::base64) {
    for (const char c : bytes) {
      int value = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+' ? 62 : c == '/' ? 63 : -1;
      if (c == '=') {   // another piece of base64 may follow, as where texts were joined
        bits_ = 0;
        have_ = 0;
      }
      if (value < 0) continue;
      bits_ = bits_ << 6 | static_cast<std::uint32_t>(value);
      have_ += 6;
      if (have_ >= 8) {
        have_ -= 8;
        out += static_cast<char>(bits_ >> have_ & 0xFF);
      }
    }
    return;
  }
  pending_ += bytes;
  std::size_t at = 0;
  for (std::size_t end; (end = pending_.find('\n', at)) != std::string::npos; at = end + 1) {
    line(std::string_view(pending_).substr(at, end - at), true, out);
  }
  pending_.erase(0, at);
  constexpr std::size_t kLongest = 4096;   // lines are of 76; what is longer is no such text
  if (pending_.size() > kLongest) {
    // An escape that is cut in two stays.
    const std::size_t cut = pending_.find_last_of('=') + 3 > pending_.size() && pending_.find_last_of('=') != std::string::npos
                                ? pending_.find_last_of('=') : pending_.size();
    line(std::string_view(pending_).substr(0, cut), false, out);
    pending_.erase(0, cut);
  }
}

void PartDecoder::finish(std::string& out) {
  if (kind_ == Kind::quoted_printable && !pending_.empty()) line(std::exchange(pending_, {}), false, out);
}

void PartDecoder::line(std::string_view text, bool whole, std::string& out) {
  if (whole) {
    while (!text.empty() && (text.back() == '\r' || is_space(text.back()))) text.remove_suffix(1);   // blanks at the end are the transport's
  }
  bool soft = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else if (i + 1 == text.size()) {
      soft = true;
    } else {
      out += '=';
    }
  }
  if (whole && !soft) out += "\r\n";
}

// --- structure ----------------------------------------------------------------------------------

namespace {

class Collector final : public checks::MimeWalker::Handler {
 public:
  explicit Collector(const mime::Message& message, std::vector<MimePart>& parts)
      : parts_(parts), walker_(checks::Limits{}, true, *this) {
    begin(0, 0);
    for (const mime::Header& header : message.headers) {
      if (header.own_received) continue;
      const std::string value = header.milter_value(false);
      keep(header.name(), value);
      (void)walker_.header(std::string(header.name()) + ": " + value, header.name(), value);
    }
    walker_.end_of_headers();
    (void)message.body.for_each([&](std::string_view piece) {
      walker_.body(piece);
      return true;
    });
    walker_.finish();
    if (in_headers_) body_begins(message.body.size());
    close_above(0, message.body.size(), false);
    for (auto& [index, level] : open_) parts_[index].size = message.body.size() - parts_[index].offset;
  }

 private:
  struct Open {
    std::size_t index, level;
  };

  // A part's headers begin; `level`: how many multiparts it is in.
  void begin(std::size_t level, std::uint32_t depth) {
    header_octets_ = 0;
    in_headers_ = true;
    is_full_ = parts_.size() >= MimeView::kMaxParts;
    if (is_full_) return;
    parts_.emplace_back().depth = depth;
    open_.push_back({parts_.size() - 1, level});
  }
  void keep(std::string_view name, std::string_view value) {
    if (is_full_ || header_octets_ + name.size() + value.size() > MimeView::kMaxPartHeaders) return;
    header_octets_ += name.size() + value.size();
    MimePart& part = parts_.back();
    part.headers.emplace_back(std::string(name), std::string(value));
    if (iequals(name, "Content-Type")) {
      const Parameterized parsed = parse_parameterized(value);
      if (parsed.word.find('/') != std::string::npos) part.type = parsed.word;
      part.charset = lower(parsed.get("charset"));
      if (part.filename.empty()) part.filename = parsed.get("name");
    } else if (iequals(name, "Content-Transfer-Encoding")) {
      part.encoding = parse_parameterized(value).word;
    } else if (iequals(name, "Content-Disposition")) {
      const Parameterized parsed = parse_parameterized(value);
      part.disposition = parsed.word;
      if (const std::string name_there = parsed.get("filename"); !name_there.empty()) part.filename = name_there;
    }
  }
  void body_begins(std::uint64_t offset) {
    in_headers_ = false;
    if (!is_full_) parts_.back().offset = offset;
  }
  // Parts inside of that level end here; the line end before a boundary is the boundary's (RFC 2046 section 5.1.1).
  void close_above(std::size_t level, std::uint64_t offset, bool by_boundary) {
    while (!open_.empty() && open_.back().level > level) {
      MimePart& part = parts_[open_.back().index];
      const std::uint64_t end = by_boundary && offset >= part.offset + 2 ? offset - 2 : offset;
      part.size = end > part.offset ? end - part.offset : 0;
      open_.pop_back();
    }
  }

  void part_header(checks::HeaderClass, std::string_view text, std::uint64_t offset, std::uint64_t) override {
    const std::size_t colon = text.find(':');
    std::string_view value = text.substr(std::min(colon + 1, text.size()));
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (colon == text.npos) return;
    if (nest_next_) begin_nested(offset);
    keep(trim(text.substr(0, colon)), value);
  }
  // The headers of a message inside of a message come without a boundary between.
  void begin_nested(std::uint64_t offset) {
    nest_next_ = false;
    body_begins(offset);
    if (!open_.empty()) begin(open_.back().level, parts_[open_.back().index].depth + 1);
  }
  void headers_over(checks::HeaderClass header_class, bool by_empty_line) override {
    if (nest_next_ && header_class == checks::HeaderClass::nested) begin_nested(walker_.offset());   // it has no headers
    const std::string& type = parts_.back().type;
    nest_next_ = !is_full_ && by_empty_line && (type == "message/rfc822" || type == "message/global");
    awaits_body_ = !nest_next_;
  }
  void boundary(std::size_t level, bool last, std::uint64_t offset) override {
    if (in_headers_) body_begins(offset);
    awaits_body_ = nest_next_ = false;
    close_above(level, offset, true);
    if (last) return;
    const std::uint32_t depth = open_.empty() ? 1 : parts_[open_.back().index].depth + 1;
    begin(level + 1, depth);
    fresh_ = true;   // the boundary's own line follows
  }
  void body_line(std::string_view, std::uint64_t offset, std::uint64_t, bool, bool) override {
    if (std::exchange(fresh_, false)) return;
    if (!std::exchange(awaits_body_, false)) return;
    if (in_headers_) body_begins(offset);
  }

  std::vector<MimePart>& parts_;
  std::vector<Open> open_;
  std::size_t header_octets_ = 0;
  bool in_headers_ = false, is_full_ = false, nest_next_ = false, awaits_body_ = false, fresh_ = false;
  checks::MimeWalker walker_;
};

}  // namespace

MimeView::MimeView(const mime::Message& message) : message_(message) { Collector(message, parts_); }

Result<std::size_t> MimeView::read(std::size_t index, std::uint64_t offset, std::span<char> into) {
  const MimePart& part = parts_.at(index);
  if (current_ != index || offset < decoded_) {
    current_ = index;
    decoder_.emplace(part.encoding);
    raw_ = decoded_ = 0;
    ready_.clear();
  }
  char piece[16 * 1024];
  while (decoded_ + ready_.size() <= offset && raw_ < part.size) {
    decoded_ += ready_.size();
    ready_.clear();
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(sizeof piece, part.size - raw_));
    const auto got = message_.body.read_at(part.offset + raw_, {piece, wanted});
    if (!got) return tl::unexpected(got.error());
    if (*got == 0) break;
    raw_ += *got;
    decoder_->add({piece, *got}, ready_);
    if (raw_ == part.size) decoder_->finish(ready_);
  }
  if (offset >= decoded_ + ready_.size()) return std::size_t{0};
  const std::size_t from = static_cast<std::size_t>(offset - decoded_);
  const std::size_t n = std::min(into.size(), ready_.size() - from);
  std::copy_n(ready_.data() + from, n, into.data());
  return n;
}

}  // namespace millrace::plugin
