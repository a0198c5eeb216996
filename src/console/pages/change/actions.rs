//! What can be done to a set: the buttons, for who may press them.

use maud::{Markup, html};

use super::super::super::answer::Failure;
use super::super::super::areas::lacks;
use super::super::super::cells_view;
use super::super::super::elements::{Button, Field, button, lines, local_time, tick};
use super::super::super::forms::{effective_field, reason_field};
use super::super::super::language::Language;
use super::super::super::words;
use super::{Case, rebase};
use crate::accounts::Right;
use crate::changes::State;
use crate::source::CellChange;

impl Case<'_> {
    pub(super) fn actions(&self) -> Result<Markup, Failure> {
        let language = self.visit.language;
        let forms = match self.set.state {
            State::Draft => self.draft_form(),
            State::Submitted => html! { (self.decision()) (self.own_submitted()) },
            State::Approved => html! {
                @if self.is_own() { (self.withdraw_form()) } @else if self.may(Right::Approve) { (self.refuse_form()) }
            },
            State::Applied => html! { (self.review_form()) (self.roll_back_form()?) },
            State::Refused | State::Withdrawn | State::Conflict => html! {},
        };
        let rebase = self.rebase_form();
        Ok(html! {
            section #actions {
                h2 { (language.say("Xử lý", "What to do")) }
                (forms) (rebase)
            }
        })
    }

    /// Why there is no button.
    fn why_not(&self, right: Right) -> Markup {
        html! { p.soft { (lacks(self.visit, right, &self.areas)) } }
    }

    fn draft_form(&self) -> Markup {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        if !self.is_own() {
            let text = language.say(
                "Bản nháp: chỉ người soạn sửa hoặc gửi duyệt được.",
                "A draft: only its author can change or submit it.",
            );
            return html! { p.soft { (text) } };
        }
        if !self.may(Right::Propose) {
            return html! { (self.why_not(Right::Propose)) (self.withdraw_form()) };
        }
        // What was typed, after a form that was not taken.
        let is_typed = visit.fields.has("reason");
        let typed = |name: &str, kept: String| if is_typed { visit.fields.get(name).to_owned() } else { kept };
        let reason = typed("reason", set.reason.clone());
        let effective = set.effective.map(|at| local_time(visit, at)).unwrap_or_default();
        let effective = typed("effective", effective);
        let is_forced = if is_typed { visit.fields.has("forced") } else { set.forced };
        let shrinks = self.preview.as_ref().is_some_and(|preview| preview.shrinks);
        html! {
            form.form method="post" {
                (reason_field(language, &reason))
                (effective_field(visit, &effective))
                @if shrinks { (tick("forced", "1", html! { (shrink_text(language)) }, is_forced)) }
                div.row {
                    (button(Button::Primary, "action", "submit", language.say("Gửi duyệt", "Submit")))
                    (button(Button::Plain, "action", "save", language.say("Lưu nháp", "Save")))
                    @if self.may(Right::ApplyFirst) {
                        (button(Button::Danger, "action", "apply_first", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
                    }
                }
                @if self.may(Right::ApplyFirst) { (apply_first_text(language)) }
            }
            (self.withdraw_form())
        }
    }

    /// For those who decide on it.
    fn decision(&self) -> Markup {
        let language = self.visit.language;
        if self.is_own() {
            let text = language.say(
                "Đang chờ một tài khoản khác có quyền phê duyệt ở các khu vực này. Không ai tự phê duyệt đề xuất của mình.",
                "It waits for another account that may approve in these areas. Nobody approves a change set of his own.",
            );
            return html! { p { (text) } };
        }
        if !self.may(Right::Approve) {
            return self.why_not(Right::Approve);
        }
        let fits = self.must_fit(self.set.forced);
        html! {
            @match fits {
                Ok(()) => form.form method="post" {
                    @if self.set.forced {
                        p { (language.say("Người soạn xác nhận đúng là muốn xóa nhiều biển như vậy.", "Its author says that losing so many signs is meant.")) }
                    }
                    div.row { (button(Button::Primary, "action", "approve", language.say("Phê duyệt", "Approve"))) }
                },
                Err(_) => p.soft {
                    (language.say("Chưa thể phê duyệt: xem các cảnh báo ở trên.", "It can't be approved as it is: see above."))
                },
            }
            (self.refuse_form())
        }
    }

    fn refuse_form(&self) -> Markup {
        let language = self.visit.language;
        let is_typed = self.visit.fields.get("action") == "refuse";
        html! {
            details open[is_typed] {
                summary { (language.say("Từ chối…", "Refuse…")) }
                form.form method="post" {
                    (Field {
                        name: "remark", label: language.say("Lý do từ chối", "Why it is refused"),
                        value: self.visit.fields.get("remark"), is_required: true, ..Field::default()
                    }.lines())
                    div.row { (button(Button::Danger, "action", "refuse", language.say("Từ chối", "Refuse"))) }
                }
            }
        }
    }

    fn own_submitted(&self) -> Markup {
        let language = self.visit.language;
        html! {
            @if self.is_own() {
                @if self.may(Right::ApplyFirst) {
                    form.form method="post" {
                        div.row {
                            (button(Button::Danger, "action", "apply_first", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
                        }
                        (apply_first_text(language))
                    }
                }
                (self.withdraw_form())
            }
        }
    }

    fn withdraw_form(&self) -> Markup {
        let language = self.visit.language;
        html! {
            form method="post" { (button(Button::Plain, "action", "withdraw", language.say("Rút lại", "Withdraw"))) }
        }
    }

    /// For a set that was applied first.
    fn review_form(&self) -> Markup {
        let language = self.visit.language;
        if !self.set.applies_first || self.set.reviewed.is_some() {
            return html! {};
        }
        if self.is_own() {
            let text = language.say("Chờ một tài khoản khác xem lại.", "It waits for another account's review.");
            return html! { p { (text) } };
        }
        if !self.may(Right::Approve) {
            return self.why_not(Right::Approve);
        }
        html! {
            form.form method="post" {
                p { (language.say("Thay đổi này đã được áp dụng trước khi có người phê duyệt.", "This was applied before anybody has approved it.")) }
                div.row {
                    (button(Button::Primary, "action", "review", language.say("Đã xem: đạt yêu cầu", "Looked at it: all right")))
                }
                p.hint { (language.say("Nếu không đạt, hãy hoàn tác.", "If it is not, roll it back.")) }
            }
        }
    }

    fn roll_back_form(&self) -> Result<Markup, Failure> {
        let (visit, language) = (self.visit, self.visit.language);
        let Ok(tables) = &self.tables else { return Ok(html! {}) };
        if !self.may(Right::Propose) {
            return Ok(self.why_not(Right::Propose));
        }
        let (cells, changed) = visit.parts.changes.inverse(self.set.number, tables)?;
        let is_typed = visit.fields.get("action") == "roll_back";
        let left = |cell: &CellChange| {
            html! {
                (cells_view::row_title(visit, cell.table, &cell.key)) ", " (words::column(language, &cell.column))
            }
        };
        Ok(html! {
            @if !changed.is_empty() {
                details {
                    summary {
                        (language.number(changed.len() as u64)) " "
                        (language.say("ô đã thay đổi kể từ đó, hoàn tác sẽ để nguyên", "cells have changed since; a rollback leaves them alone"))
                    }
                    (lines(language, changed.iter().map(left)))
                }
            }
            @if cells.is_empty() {
                p.soft { (language.say("Không còn gì để hoàn tác.", "There is nothing left to undo.")) }
            } @else {
                details open[is_typed] {
                    summary { (language.say("Hoàn tác…", "Roll back…")) }
                    form.form method="post" {
                        p {
                            (language.say("Lập và gửi duyệt một đề xuất mới, trả lại giá trị cũ của", "Makes and submits a new change set that puts back"))
                            " " (language.number(cells.len() as u64)) " " (language.say("ô.", "cells."))
                        }
                        (reason_field(language, visit.fields.get("reason")))
                        div.row { (button(Button::Danger, "action", "roll_back", language.say("Hoàn tác", "Roll back"))) }
                    }
                }
            }
        })
    }

    /// For a set with cells that have changed since, or one that has ended and may be wanted after all.
    fn rebase_form(&self) -> Markup {
        let language = self.visit.language;
        let is_over = matches!(self.set.state, State::Refused | State::Withdrawn);
        let is_outdated = self.set.state == State::Conflict
            || self.preview.as_ref().is_some_and(|preview| !preview.conflicts.is_empty());
        if !is_over && !is_outdated {
            return html! {};
        }
        if !self.may(Right::Propose) {
            return self.why_not(Right::Propose);
        }
        let Ok(tables) = &self.tables else { return html! {} };
        if rebase(&self.set.cells, tables).is_empty() {
            return html! { p.soft { (self.nothing_left(tables)) } };
        }
        if is_over {
            return html! {
                form.form method="post" {
                    p {
                        (language.say(
                            "Đề xuất này đã kết thúc. Có thể lập bản nháp mới với cùng các thay đổi, sửa lý do hoặc thời điểm rồi gửi duyệt lại.",
                            "This change set is at its end. The same changes can be made into a new draft, with another reason or time, and be submitted again.",
                        ))
                    }
                    div.row {
                        (button(Button::Plain, "action", "rebase", language.say("Lập bản nháp mới", "Make a new draft")))
                    }
                }
            };
        }
        html! {
            form.form method="post" {
                p {
                    (language.say(
                        "Lập bản nháp với cùng giá trị mới, tính từ giá trị hiện nay của các ô; dòng không còn thì bỏ qua. Hãy xem kỹ vì người khác đã sửa các ô này.",
                        "Makes a draft with the same new values, from what the cells have now; rows that are gone are left out. Look at it well: somebody else has changed these cells.",
                    ))
                }
                div.row {
                    (button(Button::Plain, "action", "rebase", language.say("Lập lại từ giá trị hiện nay", "Make it anew from what is there now")))
                }
            }
        }
    }
}

fn shrink_text(language: Language) -> &'static str {
    language.say("Đúng là muốn xóa nhiều biển như vậy", "Losing so many signs is meant")
}

fn apply_first_text(language: Language) -> Markup {
    html! {
        p.hint {
            (language.say(
                "“Áp dụng ngay, xem lại sau” dành cho lúc khẩn cấp (trang đích trở nên nguy hại): có hiệu lực ngay, hiện màu đỏ với mọi người cho đến khi một tài khoản khác xem lại.",
                "“Apply now, reviewed after” is for an emergency (a page that turned harmful): it holds at once, and everybody sees it in red until another account has looked at it.",
            ))
        }
    }
}
