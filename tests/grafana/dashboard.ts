// What a dashboard's file may say, by Grafana's published types. The test writes each file
// as `export default {…} satisfies DashboardFile`, so that an option that Grafana would pass
// over in silence is a type error with the file's own line.
import type {
  AnnotationQuery,
  ColorDimensionConfig,
  Dashboard,
  FieldConfig,
  HideableFieldConfig,
  MapLayerOptions,
  MatcherConfig,
  Panel,
  ResourceDimensionConfig,
  RowPanel,
  ScalarDimensionConfig,
  ScaleDimensionConfig,
  TextDimensionConfig,
  VariableModel,
} from "@grafana/schema";
import type * as barchart from "@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as gauge from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import type * as geomap from "@grafana/schema/dist/esm/raw/composable/geomap/panelcfg/x/GeomapPanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as piechart from "@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as statetimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as text from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// A file has an enum's text instead of the enum, and leaves out what has a default.
type Loose<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Loose<Item>[]
      : T extends object
        ? { [Key in keyof T]?: Loose<T[Key]> }
        : T;

type None = Record<never, never>;

// A map's layers are not published; these are the markers' StyleConfig (public/app/plugins/panel/geomap/style).
type GeomapOptions = Omit<geomap.Options, "layers"> & {
  layers: (Omit<MapLayerOptions, "config" | "type"> & {
    type: "markers";
    tooltip?: boolean;
    config: {
      showLegend: boolean;
      style: {
        color: ColorDimensionConfig;
        opacity: number;
        rotation: ScalarDimensionConfig;
        size: ScaleDimensionConfig;
        symbol: ResourceDimensionConfig;
        symbolAlign: { horizontal: "center" | "left" | "right"; vertical: "bottom" | "center" | "top" };
        text: TextDimensionConfig;
        textConfig: { fontSize: number; offsetX: number; offsetY: number; textAlign: string; textBaseline: string };
      };
    };
  })[];
};

// Panel types, their options, and their part of a field's configuration.
interface PanelTypes {
  barchart: [barchart.Options, barchart.FieldConfig];
  bargauge: [bargauge.Options, None];
  gauge: [gauge.Options, None];
  geomap: [GeomapOptions, HideableFieldConfig];
  heatmap: [heatmap.Options, heatmap.FieldConfig];
  piechart: [piechart.Options, piechart.FieldConfig];
  stat: [stat.Options, None];
  "state-timeline": [statetimeline.Options, statetimeline.FieldConfig];
  table: [table.Options, table.FieldConfig];
  text: [text.Options, None];
  timeseries: [timeseries.Options, timeseries.FieldConfig];
}

type Property<Fields, Prefix extends string> = {
  [Key in keyof Fields & string]-?: { id: `${Prefix}${Key}`; value: Loose<Fields[Key]> };
}[keyof Fields & string];

// What @grafana/data 13.2.3 calls DataLink, FieldMatcherID and DataTransformerID, as far as
// the dashboards use it: what it doesn't know it passes over as well.
type Fields = Omit<FieldConfig, "custom" | "links"> & {
  links?: { title: string; url: string; targetBlank?: boolean; oneClick?: boolean }[];
};
type Matcher = Omit<Loose<MatcherConfig>, "id"> & {
  id: "byFrameRefID" | "byName" | "byNames" | "byRegexp" | "byType" | "numeric" | "time";
};
type Transformation =
  | {
      id: "groupingToMatrix";
      options: {
        columnField: string;
        rowField: string;
        valueField: string;
        emptyValue?: "empty" | "false" | "null" | "true" | "zero";
      };
    }
  | {
      id: "organize";
      options: {
        excludeByName?: Record<string, boolean>;
        includeByName?: Record<string, boolean>;
        indexByName?: Record<string, number>;
        renameByName?: Record<string, string>;
      };
    };

// The plugin's CHQuery in SQL mode; 0 is a time series and 1 a table.
interface ClickHouseTarget {
  refId: string;
  datasource: { type: "grafana-clickhouse-datasource"; uid: string };
  pluginVersion: string;
  editorType: "sql";
  queryType: "table" | "timeseries";
  format: 0 | 1;
  rawSql: string;
  meta?: object;
  hide?: boolean;
}

interface PrometheusTarget {
  refId: string;
  datasource: { type: "prometheus"; uid: string };
  expr: string;
  editorMode?: "code" | "builder";
  exemplar?: boolean;
  format?: "heatmap" | "table" | "time_series";
  hide?: boolean;
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

type PanelOf<Type extends keyof PanelTypes> = Loose<
  Omit<Panel, "fieldConfig" | "options" | "targets" | "transformations" | "type">
> & {
  type: Type;
  options?: Loose<PanelTypes[Type][0]>;
  fieldConfig?: {
    defaults: Loose<Fields> & { custom?: Loose<PanelTypes[Type][1]> };
    overrides: {
      matcher: Matcher;
      properties: (Property<Fields, ""> | Property<PanelTypes[Type][1], "custom.">)[];
    }[];
  };
  targets?: (ClickHouseTarget | PrometheusTarget)[];
  transformations?: Transformation[];
};

type AnyPanel = { [Type in keyof PanelTypes]: PanelOf<Type> }[keyof PanelTypes];

type Row = Loose<Omit<RowPanel, "panels" | "type">> & { type: "row"; panels: AnyPanel[] };

export type DashboardFile = Loose<Omit<Dashboard, "annotations" | "panels" | "templating">> & {
  annotations?: { list: Loose<Omit<AnnotationQuery, "target">>[] };
  panels: (AnyPanel | Row)[];
  // Grafana itself writes null where a variable has no value of its own for All.
  // `definition` is what the list of variables shows.
  templating: {
    list: (Loose<Omit<VariableModel, "allValue">> & { allValue?: string | null; definition?: string })[];
  };
};
