#include <catch2/catch.hpp>

#include "core/rewrite/recipients.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;
using namespace millrace::rewrite;

TEST_CASE("local recipients: the default leaves out what is not here", "[rewrite][recipients]") {
  const test::TemporaryDirectory directory;
  map::TableSet tables({});
  config::Findings findings;
  const auto default_config = config::Config::from_text("alias_maps = hash:" + directory.path() + "/aliases", "", findings);
  auto params = default_config->params();
  // alias_maps is the admin's: its file must be there.
  CHECK_FALSE(LocalRecipients::make(default_config.get(), params, tables));
  directory.write("aliases", "abuse: root\n");
  auto recipients = LocalRecipients::make(default_config.get(), params, tables);
  REQUIRE(recipients);
  CHECK_FALSE(recipients->accepts_all());
  CHECK(recipients->knows("root@x", "").value());
  CHECK(recipients->knows("Abuse+x@x", "+").value());
  CHECK_FALSE(recipients->knows("abuse+x@x", "").value());
  CHECK_FALSE(recipients->knows("nobody-of-this-name@x", "").value());

  const auto untouched = config::Config::from_text("", "", findings);
  params = untouched->params();
  CHECK(LocalRecipients::make(untouched.get(), params, tables));
  const auto nis = config::Config::from_text("local_recipient_maps = nis:x", "", findings);
  CHECK_FALSE(LocalRecipients::make(nis.get(), nis->params(), tables));
  const auto all = config::Config::from_text("local_recipient_maps =", "", findings);
  CHECK(LocalRecipients::make(all.get(), all->params(), tables)->accepts_all());
}
