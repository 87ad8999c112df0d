#include "core/tools/manual.h"

#include <fmt/format.h>

#include "core/base/strings.h"
#include "core/config/names.h"

namespace millrace::tools {
namespace {

using config::NameClass;
using config::NameRow;
using config::ValueType;

constexpr std::string_view kHead = R"(.\" Made by "millrace conf --man"; do not edit.
.Dd November 21, 2026
.Dt MAIN.CF 5
.Os
.Sh NAME
.Nm main.cf
.Nd configuration parameters of Millrace
.Sh DESCRIPTION
.Nm
holds one
.Dq name = value
on each logical line.
A line that begins with white space continues the one before.
Empty lines, and lines whose first character other than white space is
.Sq # ,
are skipped, also between a line and its continuation.
The last assignment to a name counts.
.Pp
A value may mention others:
.Bl -tag -width Ds
.It Li $name , ${name} , $(name)
the value of
.Ar name ,
expanded in turn; empty when there is none
.It Li ${name?text} , ${name?{text}}
.Ar text
when the value of
.Ar name
is not empty
.It Li ${name:text} , ${name:{text}}
.Ar text
when it is empty
.It Li ${name?{text1}:{text2}}
one or the other
.It Li ${{text1} == {text2} \&? {text3} \&: {text4}}
compares two texts, or two numbers; also with != < <= >= >, and with ==level
and its like for compatibility levels
.It Li $$
a dollar sign
.El
.Pp
Times are a number and a unit: s, m, h, d or w.
Without a unit they are in that of the default.
Truth values are yes and no.
.Sh PARAMETERS
.Bl -tag -width Ds
)";

constexpr std::string_view kTail = R"(.Sh FILES
.Pa /etc/postfix/main.cf
.Sh EXAMPLES
.Bd -literal
myhostname = mx.example.com
relay_domains = example.com
relay_transport = relay:[10.0.0.5]
smtpd_recipient_restrictions = permit_mynetworks,
    reject_unauth_destination
smtpd_milters = unix:/run/opendkim/opendkim.sock
.Ed
.Sh SEE ALSO
.Xr postconf 1 ,
.Xr master 5 ,
.Xr millrace 8
.Sh DIFFERENCES FROM POSTFIX
.Va smtpd_forbid_bare_newline
is normalize and
.Va smtpd_forbid_unauth_pipelining
is yes unless set.
Negative numbers are refused.
.Va smtpd_filters ,
.Va metrics_listen ,
.Va plugin_directory ,
.Va plugin_private_files
and
.Va decision_trace_limit
are Millrace's own.
)";

// Text in mdoc, in lines of at most 80 bytes where blanks allow: no escapes, no request at the start of one.
std::string text_line(std::string_view text) {
  std::string out;
  std::size_t width = 0;
  for (const std::string_view word : split(text, " ")) {
    if (width > 0 && width + 1 + word.size() <= 76) {
      out += ' ';
      ++width;
    } else {
      if (width > 0) out += '\n';
      width = 0;
      if (word[0] == '.' || word[0] == '\'') out += "\\&";
    }
    for (const char c : word) {
      if (c == '\\') {
        out += "\\e";
      } else {
        out += c;
      }
    }
    width += word.size();
  }
  return out + "\n";
}

std::string kind_of(const NameRow& row) {
  std::string out;
  switch (row.type) {
    case ValueType::text: return "Text";
    case ValueType::raw: return "Text, taken as written";
    case ValueType::boolean: return "yes or no";
    case ValueType::integer: out = "Number"; break;
    case ValueType::size: out = "Bytes"; break;
    case ValueType::time: out = "Time"; break;
  }
  const char* unit = row.type == ValueType::time ? "s" : "";
  if (row.low != 0 && row.high != 0) return fmt::format("{}, {}{} to {}{}", out, row.low, unit, row.high, unit);
  if (row.low != 0) return fmt::format("{}, at least {}{}", out, row.low, unit);
  if (row.high != 0) return fmt::format("{}, at most {}{}", out, row.high, unit);
  return out;
}

std::string default_of(const NameRow& row) {
  if (row.name == "mydomain") return "myhostname less its first label";
  if (row.name == "myhostname") return "what the system says";
  if (row.name == "mynetworks") return "by mynetworks_style";
  return row.fallback.empty() ? "empty" : std::string(row.fallback);
}

std::string list_of(NameClass name_class) {
  std::string out;
  for (const NameRow& row : config::name_rows()) {
    if (row.name_class == name_class) out += text_line(row.name);
  }
  return out;
}

}  // namespace

std::string main_cf_manual() {
  std::string out(kHead);
  for (const NameRow& row : config::name_rows()) {
    if (row.name_class != NameClass::acted || row.meaning.empty()) continue;
    out += fmt::format(".It Va {}\n", row.name);
    out += text_line(fmt::format("{}.", row.meaning));
    out += text_line(fmt::format("{}.", kind_of(row)));
    out += text_line("Default: " + default_of(row));
  }
  out += ".El\n.Ss Names of transports\n.Ar transport Ns _ Ns Ar suffix\nstands for\n.Li default_ Ns Ar suffix\nfor one transport of master.cf:\n"
         "destination_concurrency_limit,\ndestination_concurrency_failed_cohort_limit,\n"
         "destination_concurrency_negative_feedback,\ndestination_concurrency_positive_feedback,\n"
         "destination_rate_delay, destination_recipient_limit, transport_rate_delay;\n"
         "initial_destination_concurrency falls back to the parameter of that name.\n";
  out += ".Ss Parameters of Postfix that refuse the start when set\nIgnoring them would change what is accepted, delivered or protected.\n.Bd -literal\n" +
         list_of(NameClass::refuse) + ".Ed\n";
  out += ".Ss Parameters of Postfix that are not acted on\nA value other than the default is warned about.\n.Bd -literal\n" +
         list_of(NameClass::harmless) + ".Ed\n";
  return out.append(kTail);
}

}  // namespace millrace::tools
