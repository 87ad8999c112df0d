// `millrace sendmail`, alias sendmail, mailq and newaliases: Postfix's compatibility interface (sendmail(1)).
//
// Never privileged: what needs rights is done by postdrop and by the daemon.
#pragma once

#include <string>

namespace millrace::tools {

int sendmail_main(int argc, char** argv, const std::string& config_directory);

// sendmail -bs: an SMTP session on standard input and output whose messages go into the maildrop directory.
int sendmail_smtp(const std::string& config_directory);

}  // namespace millrace::tools
