// See data_decoder.h.
#include "core/smtp/data_decoder.h"

#include <cstring>

namespace millrace::smtp {

bool DataDecoder::line_end(std::string& out) {
  const bool bare = crs_ == 0;
  if (bare) saw_bare_ = true;
  const std::size_t extra = ends_ == LineEnds::strict && crs_ > 1 ? crs_ - 1 : 0;
  const bool lone_dot = dot_ && extra == 0;
  const bool bare_around = bare || previous_bare_;
  previous_bare_ = bare;
  line_start_ = true;
  dot_ = false;
  crs_ = 0;
  if (lone_dot) return ends_ == LineEnds::lenient || !bare_around;
  out.append(extra, stray_);
  out += "\r\n";
  return false;
}

DataDecoder::Decoded DataDecoder::decode(std::string_view in, std::string& out) {
  const char* const begin = in.data();
  const char* const end = begin + in.size();
  const char* at = begin;
  const bool dots = form_ == Form::data;
  while (at < end) {
    if (line_start_) {
      // Whole clean lines are taken in one piece, however many there are.
      const char* const run = at;
      while (at < end && !(dots && *at == '.')) {
        const auto* lf = static_cast<const char*>(memchr(at, '\n', static_cast<std::size_t>(end - at)));
        if (lf == nullptr || lf == at) break;
        if (memchr(at, '\r', static_cast<std::size_t>(lf - at)) != lf - 1) break;
        at = lf + 1;
      }
      if (at != run) {
        out.append(run, at);
        previous_bare_ = false;
        continue;
      }
    }
    const char c = *at++;
    if (c == '\n') {
      if (line_end(out)) return {true, static_cast<std::size_t>(at - begin)};
      continue;
    }
    if (c == '\r') {
      ++crs_;
      line_start_ = false;
      continue;
    }
    if (crs_ > 0) {
      dot_ = false;
      out.append(crs_, stray_);
      crs_ = 0;
    } else if (dot_) {
      dot_ = false;
    } else if (line_start_ && dots && c == '.') {
      dot_ = true;
      line_start_ = false;
      continue;
    }
    line_start_ = false;
    // The rest of the line up to what needs a decision.
    const char* stop = at;
    while (stop < end && *stop != '\n' && *stop != '\r') ++stop;
    out += c;
    out.append(at, stop);
    at = stop;
  }
  return {false, in.size()};
}

void DataDecoder::finish(std::string& out) {
  // Trailing CRs are taken as the beginning of the line end that never came.
  if (!line_start_) out += "\r\n";
  line_start_ = true;
  crs_ = 0;
}

}  // namespace millrace::smtp
