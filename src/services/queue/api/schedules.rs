//! PutSchedule, GetSchedule, ListSchedules, DeleteSchedule.

use std::sync::Arc;

use pannier_proto::queue::v1 as pb;

use super::super::convert::{self, Parser};
use super::super::{Core, store};
use super::cut;
use crate::error::Result;
use crate::page::Query;
use crate::storage::Durability;

impl Core {
    pub(super) async fn put_schedule(
        self: &Arc<Self>,
        mut request: pb::PutScheduleRequest,
    ) -> Result<pb::PutScheduleResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "PutSchedule", &request);
        let schedule = parser.schedule(request.schedule.unwrap_or_default());
        parser.violations.check()?;
        self.change(Durability::Full, key, schedule, |step, core, schedule| {
            Box::pin(async move {
                let schedules_max = core.count(core.settings.queue.schedules_max);
                let (schedule, created) = store::put_schedule(step, schedule, schedules_max).await?;
                let schedule = Some(convert::schedule(schedule));
                Ok(pb::PutScheduleResponse { schedule, created })
            })
        })
        .await
    }

    pub(super) async fn get_schedule(
        self: &Arc<Self>,
        request: pb::GetScheduleRequest,
    ) -> Result<pb::GetScheduleResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        parser.plain_name(&|| "name".to_owned(), &request.name);
        parser.violations.check()?;
        self.do_what_is_due().await?;
        let schedule = self
            .storage
            .read((self.clone(), request.name), |db, (core, name)| {
                Box::pin(store::get_schedule(db, &core.names, name))
            })
            .await?;
        Ok(pb::GetScheduleResponse { schedule: Some(convert::schedule(schedule)) })
    }

    pub(super) async fn list_schedules(
        self: &Arc<Self>,
        request: pb::ListSchedulesRequest,
    ) -> Result<pb::ListSchedulesResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let rows_max = parser.page_rows(&self.settings.server, request.page_size);
        parser.violations.check()?;
        let query = Query::of("queue.ListSchedules", &[]);
        let after = query.key_of(&request.page_token)?;
        self.do_what_is_due().await?;
        let mut schedules = self
            .storage
            .read((self.clone(), after), move |db, (core, after)| {
                let rows_max = rows_max.saturating_add(1);
                Box::pin(store::list_schedules(db, &core.names, after.as_deref(), rows_max))
            })
            .await?;
        let next_page_token = cut(&mut schedules, rows_max, |last| query.token(&last.put.name));
        let schedules = schedules.into_iter().map(convert::schedule).collect();
        Ok(pb::ListSchedulesResponse { schedules, next_page_token })
    }

    pub(super) async fn delete_schedule(
        self: &Arc<Self>,
        mut request: pb::DeleteScheduleRequest,
    ) -> Result<pb::DeleteScheduleResponse> {
        let mut parser = Parser::new(&self.settings.queue);
        let id = parser.request_id(&std::mem::take(&mut request.request_id));
        let key = self.request_keys.key(id, "DeleteSchedule", &request);
        parser.plain_name(&|| "name".to_owned(), &request.name);
        parser.violations.check()?;
        self.change(Durability::Full, key, request.name, |step, _, name| {
            Box::pin(async move {
                Ok(pb::DeleteScheduleResponse { deleted: store::delete_schedule(step, name).await? })
            })
        })
        .await
    }
}
