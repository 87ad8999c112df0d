// Filters for mail that did not come by SMTP: non_smtpd_milters and the content checks, asked as cleanup(8) asks
// them, with an SMTP session made up for the milters (MILTER_README, "Non-SMTP Milter applications").
//
// Our own notices are such mail when internal_mail_filter_classes names them; what sendmail(1) brings always is.
#pragma once

#include <memory>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"

namespace millrace::daemon {

class UnsmtpFilters {
 public:
  // `service`, pickup as a rule: its -o receive_override_options count.  nullptr when nothing is configured, or after an error.  Milters are only parsed here: nobody is connected to.
  static std::shared_ptr<UnsmtpFilters> make(std::shared_ptr<const config::Config> config, map::TableSet& tables,
                                             config::Findings& findings, filter::SharedFilters* shared = nullptr,
                                             unsigned process = 0, const config::Service* service = nullptr);

  // Asks them about a message; envelope and message are edited.  A recipient cannot be refused: that is a mistake of
  // the configuration, and a temporary failure.  What the verdict says of hold, discard and refusals is the caller's
  // to do. [fiber]
  filter::Verdict inspect(mime::Envelope& envelope, mime::Message& message, filter::TraceSink* trace, int spool_directory) const;

  // internal_mail_filter_classes: are notices of that kind ("bounce", "notify") inspected?
  bool inspects(std::string_view mail_class) const;

 private:
  void log_verdict(const filter::Verdict& verdict, const mime::Envelope& envelope, const std::vector<mime::Recipient>& recipients) const;

  std::shared_ptr<const config::Config> config_;
  filter::Chain chain_;
  log::Logger log_;
};

}  // namespace millrace::daemon
